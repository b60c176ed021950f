"""The tree of a conversation as an outline."""

from collections.abc import Iterator

from vlmchat.talk.turns.tree import Tree, Turn


def outline(tree: Tree) -> Iterator[tuple[Turn, str]]:
    """Yield every turn with the lines and signs that stand before it.

    What follows without a branch stays at the same depth, so that a long conversation does not
    wander off to the right.
    """
    waiting = [(turn, "") for turn in reversed(tree.roots)]
    while waiting:
        turn, indent = waiting.pop()
        siblings = tree.siblings(turn)
        here, below = indent, indent
        if len(siblings) > 1:
            last = turn is siblings[-1]
            here = f"{indent}{'└' if last else '├'}─"
            below = f"{indent}{'  ' if last else '│ '}"
        yield turn, here
        waiting.extend((child, below) for child in reversed(turn.children))
