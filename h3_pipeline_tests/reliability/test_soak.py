"""One round of each attack of ``make soak``."""

import pytest

from h3_pipeline_tests.reliability.soak import main


@pytest.mark.slow
def test_a_short_soak_is_clean(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h3_pipeline_tests.reliability.soak.KILLS", 2)
    monkeypatch.setattr("h3_pipeline_tests.reliability.soak.FILES", 10)
    assert main(["--minutes", "0", "--seed", "7"]) == 0
    summary = capsys.readouterr().out.splitlines()[-1]
    assert summary.startswith("soak: 4 rounds, 6 operations")
    assert summary.endswith("rows lost 0, doubled 0; ends that differ 0, months half-visible 0")
