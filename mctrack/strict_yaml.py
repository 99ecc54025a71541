"""YAML that people write, read strictly: a key stands once, and nothing holds itself."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import yaml


def load_yaml(text: str) -> Any:
    """What a text says, as plain dicts, lists and values.

    Raises:
        yaml.YAMLError: it is not YAML, gives a key twice in one mapping, or holds an anchor inside of what that names.
    """
    import yaml

    try:
        return yaml.load(text, _loader())
    except (ValueError, LookupError, AttributeError) as error:  # 2024-99-99, !!int x
        raise yaml.YAMLError(f"a value is not of its kind: {error}") from error
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error


@cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml
    from yaml.composer import ComposerError
    from yaml.constructor import ConstructorError

    class Loader(yaml.SafeLoader):
        """Builds from the innermost part outwards, so that a part that is not finished can be told."""

        def compose_mapping_node(self, anchor: Any) -> Any:
            # not where mappings are built: by then those merged with << have lent them keys that may stand again
            node: Any = super().compose_mapping_node(anchor)
            lines: dict[tuple[str, Any], int] = {}
            for key, _ in node.value:
                name = (key.tag, key.value)
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if name in lines:
                        said = f"the key '{key.value}' is given twice, first in line {lines[name]}"
                        raise ComposerError(None, None, said, key.start_mark)
                    lines[name] = key.start_mark.line + 1
            return node

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            if node in self.recursive_objects:
                raise ConstructorError(None, None, "a part holds itself: its anchor stands inside", node.start_mark)
            return super().construct_object(node, deep)

        def construct_yaml_map(self, node: Any) -> Any:
            return self.construct_mapping(node, deep=True)

        def construct_yaml_seq(self, node: Any) -> Any:
            return self.construct_sequence(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", Loader.construct_yaml_map)
    Loader.add_constructor("tag:yaml.org,2002:seq", Loader.construct_yaml_seq)
    return Loader
