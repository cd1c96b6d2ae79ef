"""The one exception that means "your input is wrong"."""


class InputError(ValueError):
    """Input that hwsim refuses.

    The message is one line that says where the fault is, what is wrong and what is allowed; the
    command line prints it as it stands and exits with code 2.
    """
