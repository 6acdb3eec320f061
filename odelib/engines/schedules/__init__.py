"""What happens at given times during a solve: inputs, doses and changes, as numbers that a loop over steps applies."""
