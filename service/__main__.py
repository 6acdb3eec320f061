"""`python -m service` is `odefit`."""

from service.cli.main import main

if __name__ == "__main__":
    main()
