"""What a sandbox must hold so that given jobs can run on it: their buckets, pictures, references and profiles.

``contents`` collects it, with keys that the sources include (``keys``) and labels with which the rules decide
(``labels``).
"""
