"""A progress bar that counts series."""

from contextlib import contextmanager


@contextmanager
def counting(what: str, total: int, show: bool):
    from tqdm import tqdm

    with tqdm(total=total, desc=what, leave=False, disable=not show) as bar:

        def count(n: int) -> None:
            bar.update(n)

        yield count
