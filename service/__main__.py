"""`python -m service` is `odefit`."""

from service.cli import main

if __name__ == "__main__":
    main()
