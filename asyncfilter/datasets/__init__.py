"""Datasets: the exports of examined images."""
