"""What a number over features may be called: FID, KID and Inception Score are names of Inception's alone."""

INCEPTION = "inception-v3-2015-12-05"  # begins the name of a network whose distances are called FID
PUBLISHED_INCEPTION = f"{INCEPTION}-6726825d"


def is_inception(name: str, *, published: bool = False) -> bool:
    """Return whether features of that name are Inception's: only then is a Frechet distance called FID.

    With `published`, whether also the weights are those that published FIDs are of.
    """
    return name == PUBLISHED_INCEPTION if published else name.startswith(f"{INCEPTION}-")
