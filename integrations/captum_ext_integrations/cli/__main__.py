"""`python -m captum_ext_integrations.cli`: the command line where the command `captum-ext` is not on the path."""

from captum_ext_integrations.cli import main

if __name__ == "__main__":
    main()
