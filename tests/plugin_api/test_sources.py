"""Plugins are loaded from distributions and from the files of a folder, and can be disabled."""

import stat
from pathlib import Path

import pytest

from datalayer_stripe import Plugin
from datalayer_stripe.errors import PluginError, SettingsError
from datalayer_stripe.plugin_api import permissions as plugin_permissions
from datalayer_stripe.plugin_api.registry import Registry

COUNTER = """
from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("{name}")

@plugin.on("{event_type}")
async def count(event: Event, ctx: Context) -> None:
    ctx.collection.insert_one({{"_id": event.id}})
"""


def write(folder: Path, file: str, text: str = "", **values: str) -> Path:
    path = folder / file
    if not text:
        text = COUNTER.format(**{"name": path.stem, "event_type": "charge.captured", **values})
    path.write_text(text, encoding="utf-8")
    return path


def loaded(folder: Path) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in Registry.load(folder).plugins}


def test_files_of_the_folder_are_loaded_in_addition_to_installed_plugins(tmp_path: Path) -> None:
    path = write(tmp_path, "counter.py")
    write(tmp_path, "other.py", event_type="charge.succeeded")
    found = Registry.load(tmp_path)
    names = [plugin.name for plugin in found.plugins]
    assert names[0] == "top-up-credits"
    assert {"counter", "other"} < set(names)
    assert [plugin.name for plugin in found.plugins_for("charge.captured")] == ["counter"]
    counter = found.named("counter")
    assert counter is not None
    assert (counter.origin.kind, str(counter.origin)) == ("file", str(path))


def test_file_with_several_plugins_yields_each_once(tmp_path: Path) -> None:
    text = COUNTER.format(name="one", event_type="charge.refunded")
    text += 'alias = plugin\nsecond = Plugin("two")\n'
    write(tmp_path, "several.py", text)
    assert {"one", "two"} < loaded(tmp_path).keys()


def test_file_that_begins_with_an_underscore_is_importable_and_not_loaded(tmp_path: Path) -> None:
    write(tmp_path, "_shared.py", "NAME = 'shared-name'\n")
    write(tmp_path, "__init__.py", "raise RuntimeError\n")
    write(tmp_path, "notes.txt", "no Python\n")
    write(
        tmp_path,
        "user.py",
        "from datalayer_stripe import Plugin\nfrom ._shared import NAME\nplugin = Plugin(NAME)\n",
    )
    assert "shared-name" in loaded(tmp_path)


def test_two_folders_have_separate_packages(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "_shared.py", f"NAME = 'from-{name}'\n")
        write(
            tmp_path / name,
            "user.py",
            "from datalayer_stripe import Plugin\n"
            "from ._shared import NAME\nplugin = Plugin(NAME)\n",
        )
    assert "from-a" in loaded(tmp_path / "a")
    assert "from-b" in loaded(tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import no_such_module_at_all\n", "cannot be loaded: ModuleNotFoundError"),
        ("def (\n", "cannot be loaded: SyntaxError: invalid syntax (wrong.py, line 1). Fix it"),
        ("raise ValueError('two\\nlines.')\n", "cannot be loaded: ValueError: two lines. Fix it"),
        ("raise SystemExit(0)\n", "cannot be loaded: SystemExit"),
        ("x = 1\n", "has no plugin: create a datalayer_stripe.Plugin"),
        (
            "from datalayer_stripe import Plugin\nplugin = Plugin('Bad Name')\n",
            "cannot be loaded: Plugin 'Bad Name': a name has lower-case letters, digits and hyphens"
            ". Fix it",
        ),
        (
            "from datalayer_stripe import Plugin\nplugin = Plugin('slow', timeout=60)\n",
            "at most 10 seconds; use `deferred=True` for what takes longer",
        ),
    ],
)
def test_faulty_file_stops_the_start_and_is_named(tmp_path: Path, text: str, fault: str) -> None:
    path = write(tmp_path, "wrong.py", text)
    with pytest.raises(PluginError) as error:
        Registry.load(tmp_path)
    assert fault in str(error.value)
    assert str(path) in str(error.value)
    assert "underscore" in str(error.value)


def test_error_of_a_repeated_name_has_both_origins(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.py", name="top-up-credits")
    with pytest.raises(PluginError, match="Two plugins are named 'top-up-credits'") as error:
        Registry.load(tmp_path)
    assert str(path) in str(error.value)
    assert "built-in" in str(error.value)


def test_missing_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="DATALAYER_STRIPE_PLUGINS_DIR: the folder cannot be"):
        Registry.load(tmp_path / "nowhere")


def test_built_in_plugins_have_their_origin() -> None:
    for plugin in Registry.load().plugins:
        assert plugin.origin.kind == "built-in"
        assert str(plugin.origin).startswith("built-in 0.")


# World-writable files


@pytest.mark.parametrize(
    "writable", ["plugins", "plugins/counter.py", "plugins/_shared.py", "plugins/__pycache__", "."]
)
def test_world_writable_plugin_files_stop_the_start(tmp_path: Path, writable: str) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    write(folder, "counter.py")
    write(folder, "_shared.py", "NAME = 'shared'\n")
    (folder / "__pycache__").mkdir()
    path = (tmp_path / writable).resolve()
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    with pytest.raises(PluginError) as error:
        Registry.load(folder)
    assert str(error.value) == (
        f"DATALAYER_STRIPE_PLUGINS_DIR: every user of this machine can write {path}, and so run "
        f"code in the service. Remove that permission: chmod o-w {path}"
    )
    path.chmod(path.stat().st_mode & ~stat.S_IWOTH)
    assert "counter" in loaded(folder)


@pytest.mark.parametrize(
    "writable", ["plugins/lib", "plugins/lib/names.py", "plugins/__pycache__/counter.pyc"]
)
def test_world_writable_code_in_sub_folders_stops_the_start(tmp_path: Path, writable: str) -> None:
    folder = tmp_path / "plugins"
    for name in ("lib", "__pycache__"):
        (folder / name).mkdir(parents=True)
    write(folder, "counter.py")
    # Dangling links, as editors create, and circular links do not stop the check.
    (folder / ".#counter.py").symlink_to("ada@host.1")
    (folder / "lib" / "loop.py").symlink_to("loop.py")
    path = tmp_path / writable
    if path.suffix:
        path.touch()
    path.chmod(0o777)
    with pytest.raises(PluginError, match=f"can write {path}"):
        Registry.load(folder)
    path.chmod(0o755)
    assert "counter" in loaded(folder)


def test_link_to_a_world_writable_folder_stops_the_start(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    write(target, "counter.py")
    link = tmp_path / "link"
    link.symlink_to(target)
    target.chmod(0o777)
    with pytest.raises(PluginError, match="every user of this machine can write"):
        Registry.load(link)
    target.chmod(0o755)
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(target)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PluginError, match=r"can write .*open, and"):
        Registry.load(tmp_path / "open" / "link")
    (tmp_path / "folder").mkdir()
    outside = write(tmp_path, "outside.py", name="outside")
    (tmp_path / "folder" / "inside.py").symlink_to(outside)
    outside.chmod(0o666)
    with pytest.raises(PluginError, match=r"can write .*outside\.py"):
        Registry.load(tmp_path / "folder")


def test_parent_folder_with_the_sticky_bit_is_accepted(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    folder = shared / "plugins"
    folder.mkdir(parents=True)
    write(folder, "counter.py")
    shared.chmod(0o1777)
    assert "counter" in loaded(folder)
    # In the folder itself every user could add a file, sticky bit or not.
    folder.chmod(0o1777)
    with pytest.raises(PluginError, match="can write"):
        Registry.load(folder)


def test_read_only_file_system_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "counter.py")
    tmp_path.chmod(0o777)
    monkeypatch.setattr(plugin_permissions, "is_read_only", lambda _: True)
    assert "counter" in loaded(tmp_path)


# Disabled


def test_disabled_plugin_does_not_run() -> None:
    found = Registry.load(disabled=("catalog-changed",))
    assert "price.created" not in found.types
    assert found.named("catalog-changed") is None
    assert [plugin.name for plugin in found.disabled] == ["catalog-changed"]
    assert found.disabled_money_plugins == ()


def test_unknown_disabled_name_is_a_fault_with_a_suggestion() -> None:
    with pytest.raises(SettingsError) as error:
        Registry.load(disabled=("top-up-credit", "catalog-changed", "xyz"))
    near, far = error.value.faults
    assert near.variable == far.variable == "DATALAYER_STRIPE_PLUGINS_DISABLED"
    assert "no plugin top-up-credit" in near.problem
    assert near.remedy.startswith("Did you mean top-up-credits?")
    assert far.remedy == "`datalayer-stripe plugins list` shows all names."


def test_registry_lists_disabled_money_plugins() -> None:
    assert Registry.load(disabled=("top-up-credits",)).disabled_money_plugins == ("top-up-credits",)


# Order


def staged(*plugins: Plugin) -> list[list[str]]:
    async def nothing(event: object, ctx: object) -> None: ...

    for plugin in plugins:
        plugin.on("charge.refunded")(nothing)
    stages = Registry(plugins).stages_for("charge.refunded")
    return [[plugin.name for plugin in stage] for stage in stages]


def test_stages_put_money_first_and_group_plugins_of_one_order() -> None:
    assert staged(
        Plugin("early", order=-5),
        Plugin("b"),
        Plugin("money", order=900, moves_money=True),
        Plugin("a"),
        Plugin("late", order=101),
        Plugin("more-money", order=100, moves_money=True),
    ) == [["more-money"], ["money"], ["early"], ["a", "b"], ["late"]]
