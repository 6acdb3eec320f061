"""What the fields of a request must mean together, checked on the raw JSON.

Working on the raw body lets these checks report beside the errors of form: a caller learns of a missing guess
and of a misspelt field from one answer. Whatever has the wrong form is skipped here; the models report it.
"""
