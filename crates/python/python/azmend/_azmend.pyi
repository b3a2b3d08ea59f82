from collections.abc import Callable, Sequence

def call(
    operation: str,
    log: Callable[[int, str, str], None],
    level: int,
    confirm: Callable[[str], bool] | None = None,
) -> tuple[int, str, BaseException | None]: ...
def command_line(words: Sequence[str]) -> int: ...
