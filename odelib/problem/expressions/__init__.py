"""The expression language: strings are parsed into checked trees by a whitelist, and never evaluated as Python."""
