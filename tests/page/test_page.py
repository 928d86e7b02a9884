"""The page in Chromium: it draws what `dcgan draw` draws, keeps to itself, and everybody can use it."""

import io
import json
import re
import shlex

import numpy as np
import pytest
import torch
from build_page import PAGE
from handwriting import QUALITIES, find_directions, measure
from page.tab import browser
from PIL import Image

from dcgan.cli import main
from dcgan.data.mnist import load_split, read_idx
from dcgan.gan.model_files import load_network
from dcgan.gan.sampling import generate, latents
from dcgan.paths import READY_MADE_GENERATOR

FIRST_NUMBER_MS = "performance.getEntriesByName('first number')[0].startTime"  # 300 on an idle machine

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def tab():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def generator():
    return load_network(READY_MADE_GENERATOR, "generator")


def drawn_by_torch(generator, count: int, seed: int) -> np.ndarray:
    """The digits 0 to 9 in turn, as `dcgan draw` draws them."""
    return generate(generator, latents(count, generator.arguments["latent_size"], seed), torch.arange(count) % 10)


def settled(tab) -> str:
    """The address, once the state is in it."""
    tab.wait_for("location.hash === addressOf(state)")
    return tab.run("location.hash")


def test_a_number_is_there_at_once_and_no_request_leaves_the_page(tab):
    tab.open()
    print(f"first number after {tab.run(FIRST_NUMBER_MS):.0f} ms")
    assert tab.run("state.digits") == "2026" and tab.run("drawn.length") == 4
    tab.run("element('dice').click(), element('save-png').click(), element('save-idx').click()")
    asked = {event["request"]["url"].split("#")[0] for event in tab.events("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith(("blob:", "data:"))} == {PAGE.as_uri()}
    assert tab.events("Runtime.exceptionThrown") == []
    assert tab.events("Log.entryAdded") == [], "blocked by the page's policy"


def test_a_request_would_be_seen_and_refused(tab):
    """What the test above would see if the page loaded anything."""
    tab.open()
    tab.run("document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/pixel.png' }))")
    tab.wait_for("true")
    assert any("Content Security Policy" in event["entry"]["text"] for event in tab.events("Log.entryAdded"))


def test_10_000_digits_are_those_that_pytorch_draws(tab, generator):
    """Random numbers included. Sums in another order may round a pixel to the next gray level, and once in some
    10,000 digits that moves the center of mass to the next pixel."""
    tab.open()
    differing, moved = 0, 0
    for seed, count in [*((seed, 1000) for seed in (0, 1, 7, 12, 99, 2026, 12345, 2**31 - 1)), (8, 2000)]:
        draw = f"generator.draw(latentRow({seed}, i, model.latent_size), i % 10)"
        images = tab.images(f"Array.from({{ length: {count} }}, (_, i) => ({{ levels: {draw}.levels }}))")
        difference = np.abs(images.astype(int) - drawn_by_torch(generator, count, seed))
        differing += np.count_nonzero(difference)
        moved += np.count_nonzero(difference.max(axis=(1, 2)) > 1)
    print(f"{differing} of {10_000 * 784} pixels differ, {moved} of 10,000 digits by more than one gray level")
    assert moved <= 1
    assert differing < 10_000 * 784 / 500


def test_an_odd_latent_size_draws_the_same_random_numbers(tab):
    """torch.randn draws the last 16 values of a block of 1,000 rows again when their number is no multiple of 16."""
    tab.open()
    rows = [0, 997, 998, 999, 1000]
    drawn = tab.bytes_of(f"new Blob([{','.join(map(str, rows))}].map(row => latentRow(7, row, 65)))")
    ours = latents(1001, 65, 7)[rows].numpy()
    assert np.allclose(np.frombuffer(drawn, np.float32).reshape(5, 65), ours, atol=1e-5)


def test_the_ink_lies_where_the_pixels_are(tab):
    """Scaled down to 28x28, it correlates with them by 0.998 or more; beside them, by less than 0.9."""
    tab.open("#0123456789/7")
    ink = np.frombuffer(tab.bytes_of("new Blob(drawn.map(inkAlpha))"), np.uint8).reshape(10, 28, 8, 28, 8)
    pixels = tab.images()
    found = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ink.mean((2, 4)), pixels, strict=True)]
    print("correlations of ink and pixels:", np.round(found, 3))
    assert min(found) > 0.98


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_the_feature_maps_shown_are_those_of_pytorch(tab, generator, layer):
    """Each tile is one channel, from its least value (dark) to its greatest (white)."""
    maps = []
    hook = getattr(generator, f"up{layer}").register_forward_pre_hook(lambda _, inputs: maps.append(inputs[0][0]))
    generate(generator, latents(1, generator.arguments["latent_size"], 7), torch.tensor([4]))
    hook.remove()
    tiles, size = [4, 3, 3, 2][layer - 1], maps[0].shape[-1]
    tab.open("#4/7")
    side = tiles * (size + 1) - 1
    shown = tab.bytes_of(f"element('map-{layer}').getContext('2d').getImageData(0, 0, {side}, {side}).data")
    shown = np.pad(np.frombuffer(shown, np.uint8).reshape(side, side, 4)[..., 0].astype(int), (0, 1))
    shown = shown.reshape(tiles, size + 1, tiles, size + 1).swapaxes(1, 2).reshape(-1, size + 1, size + 1)
    for tile, values in zip(shown, maps[0].numpy(), strict=False):
        least, greatest = values.min(), values.max()
        expected = 30 + 225 * (values - least) / ((greatest - least) or 1)
        assert np.abs(tile[:-1, :-1] - expected).max() < 2


def test_the_saved_png_is_the_picture_of_the_command(tab, tmp_path, monkeypatch):
    """With digits that were rolled again."""
    monkeypatch.chdir(tmp_path)
    tab.open("#20260/7,7,12,7,3")
    command = shlex.split(tab.run("element('command').textContent"))
    assert command == shlex.split("dcgan draw 20260 --seed 7,7,12,7,3 -o 20260.png")
    with pytest.raises(SystemExit) as ended:
        main(command[1:])
    assert ended.value.code == 0
    ours = np.asarray(Image.open("20260.png")).astype(int)
    theirs = np.asarray(Image.open(io.BytesIO(tab.bytes_of("pngOf(drawn.map(d => d.levels))"))).convert("L"))
    assert theirs.shape == ours.shape
    assert np.abs(theirs - ours).max() <= 1
    shown = tab.bytes_of("element('picture').getContext('2d').getImageData(0, 0, 220, 56).data")
    assert np.array_equal(np.frombuffer(shown, np.uint8).reshape(56, 220, 4)[..., 0], theirs)


def test_the_saved_idx_files_are_those_of_mnist(tab, tmp_path):
    tab.open("#314/5")
    for name, script in (
        ("images", "idxImages(drawn.map(d => d.levels))"),
        ("labels", "idxLabels(drawn.map(d => d.label))"),
    ):
        (tmp_path / name).write_bytes(tab.bytes_of(script))
    assert np.array_equal(read_idx(tmp_path / "images"), tab.images())
    assert read_idx(tmp_path / "labels").tolist() == [3, 1, 4]


def test_a_typed_number_is_written_and_its_address_brings_it_back(tab):
    tab.open()
    tab.type_into("number", "31x4")
    assert tab.run("[...element('paper').children].map(b => b.ariaLabel[0]).join('')") == "314"
    assert "Only the digits" in tab.run("element('status').textContent")
    tab.type_into("seed", "12")
    tab.press("Enter", "\r")
    tab.run("element('slant').value = 1.5, element('slant').dispatchEvent(new Event('input'))")
    address, images = settled(tab), tab.images()
    assert address == "#314/12/slant=1.5"
    tab.open(address)
    assert np.array_equal(tab.images(), images)


@pytest.mark.parametrize("address", ["#abc", "#12/7,7,7", f"#1/{2**31}", "#" + "1" * 41, "#1/-1"])
def test_an_address_that_names_no_number_is_said_to(tab, address):
    tab.open(address)
    assert tab.run("state.digits") == "2026"
    assert "names no number" in tab.run("element('status').textContent")


def test_a_digit_is_rolled_again_with_the_keyboard_and_the_others_stay(tab):
    tab.open("#2026/7")
    before = tab.images()
    tab.run("element('seed').focus()")
    for _ in range(40):  # Tab order: from the top of the page to the third digit
        if tab.run("document.activeElement === element('paper').children[2]"):
            break
        tab.press("Tab")
    tab.press("Enter", "\r")
    after = tab.images()
    changed = (before != after).any(axis=(1, 2)).tolist()
    assert changed == [False, False, True, False]
    assert re.fullmatch(r"#2026/7,7,\d+,7", settled(tab))
    assert "A new 2, from seed" in tab.run("element('status').textContent")


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_slider_changes_what_it_is_named_after(tab, quality):
    """Over 40 digits, by about as many standard deviations as it says."""
    measured = {}
    for value in (0, 2):
        tab.open(f"#0234567892034567892023456789203456789234/3/{quality}={value}")
        measured[value] = measure(tab.images())[:, QUALITIES.index(quality)]
    shift = (measured[2] - measured[0]).mean() / measured[0].std()
    assert 0.8 < shift < 4
    assert tab.run("isPlain(state)") is False
    assert "without sliders" in tab.run("element('command-note').textContent")
    tab.run("element('reset').click()")
    assert measure(tab.images())[:, QUALITIES.index(quality)] == pytest.approx(measured[0])


def test_the_walk_ends_in_the_other_handwriting_but_for_the_white(tab):
    """White is selected by a latent that the walk leaves alone."""
    tab.open("#2026/7/to=8&walk=1")
    end = tab.images().astype(int)
    tab.open("#2026/8")
    assert np.abs(end - tab.images()).max() <= 4  # from 251 to 255
    tab.open("#2026/7/to=8&walk=0.5")
    assert np.count_nonzero(np.abs(end - tab.images()) > 100) > 40


def test_digits_morph_where_motion_is_welcome_and_end_exactly(tab):
    tab.open("#2026/7", motion="no-preference")
    target = "latentsOf({ ...initialState(), seed: 8, rolled: {} }, model, directions).join()"
    tab.run("change({ seed: 8 }, { morph: true })")
    assert tab.run("drawn.length") == 4
    tab.wait_for(f"shown.map(digit => digit.latent).join() === {target}")
    tab.open("#2026/7", motion="reduce")
    assert tab.run(f"change({{ seed: 8 }}, {{ morph: true }}), shown.map(digit => digit.latent).join() === {target}")
    assert tab.run("getComputedStyle(element('play')).display") == "none"


def test_the_quiz_shows_real_digits_that_nobody_selected_and_keeps_score(tab, mnist_dir):
    tab.open()
    images, labels = load_split(mnist_dir, "test")
    real = np.frombuffer(tab.bytes_of("quiz.real"), np.uint8).reshape(10, -1, 28, 28)
    assert all(np.array_equal(real[digit], images[labels == digit][: len(real[digit])]) for digit in range(10))
    names = "quiz.choices.map(choice => choice.ariaLabel)"  # what a screen reader reads
    lefts = tab.run("quiz.choices.map(choice => choice.getBoundingClientRect().left)")
    places = ("left", "right") if lefts[0] < lefts[1] else ("right", "left")
    for asked in (1, 2, 3):
        claims = tab.run(names)
        assert all(re.fullmatch(rf"The {place} \d is real", claim) for place, claim in zip(places, claims, strict=True))
        tab.run(f"quiz.choices[{'quiz.realSide' if asked < 3 else '1 - quiz.realSide'}].click()")
        assert f"{min(asked, 2)} of {asked} right" in tab.run("quiz.answer.textContent")
        tab.run("quiz.choices[quiz.realSide].click()")  # too late
        side = tab.run("quiz.realSide")
        assert f"the {places[side]} one is real" in tab.run("quiz.answer.textContent")
        kinds = ("generated", "real") if side else ("real", "generated")
        assert tab.run(names) == [f"The {place} one is {kind}" for place, kind in zip(places, kinds, strict=True)]
        seen = tab.bytes_of(
            f"quiz.choices[{side}].querySelector('canvas').getContext('2d').getImageData(0,0,28,28).data"
        )
        seen = np.frombuffer(seen, np.uint8).reshape(28, 28, 4)[..., 0]
        assert (real == seen).all(axis=(2, 3)).any()
        tab.run("quiz.next.click()")
    assert tab.run("quiz.right") == 2


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (1200, "dark"), (390, "light"), (320, "dark")])
def test_everybody_can_use_it(tab, width, scheme):
    """axe-core finds nothing serious, and nothing is wider than the screen, even with the longest number."""
    tab.open(f"#{'0123456789' * 4}/{'7,' * 39}8", width, scheme)
    assert tab.run("document.documentElement.scrollWidth") <= width
    if scheme == "dark":
        tab.run("element('pixels').click(), quiz.choices[0].click()")
    assert tab.serious_violations() == []


def test_the_checker_finds_what_is_wrong(tab):
    tab.open()
    tab.run("element('number').labels[0].remove(), element('caption').style.color = '#ddd'")
    assert {line.split(":")[0] for line in tab.serious_violations()} == {"label", "color-contrast"}


def test_the_directions_are_those_of_this_generator(generator):
    """Not to the byte: the last bits of sums depend on the processor."""
    found = find_directions(generator)
    committed = json.loads(re.search(r'id="directions">(.*?)</script>', PAGE.read_text())[1])
    for quality in QUALITIES:
        assert np.allclose(found[quality], committed[quality], atol=0.01)
