"""State in S3: a checkpoint, or a file of people's answers, that outlives its machine.

``names`` has the keys of a state's objects, ``head`` the one object that says which of them count. What is here depends
on the port ``ports.state_store`` and on the two kinds of files, not on how S3 is reached.
"""
