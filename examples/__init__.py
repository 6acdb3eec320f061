"""Runnable examples: the article's problems, the lynx–hare record, a network with a differential equation."""
