"""What is asked: the problem language, without any numerics."""
