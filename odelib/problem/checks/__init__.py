"""Checks of what the fields of a request must mean together; they read the raw JSON.

Reading the raw body, they can report beside the errors of form: one answer tells a caller of a missing guess and of a
misspelt field. Values of the wrong form are skipped here, because the models report them.
"""
