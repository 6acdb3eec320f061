"""The problem language: what a fit request says, as models and checks. Nothing here loads the numerics."""
