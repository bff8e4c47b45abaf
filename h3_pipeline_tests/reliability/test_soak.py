"""One round of the attacks of ``make soak`` that no other test makes: kills and a failing server have their own."""

import pytest

from h3_pipeline_tests.reliability.soak import main


def test_a_short_soak_is_clean(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("h3_pipeline_tests.reliability.soak.FILES", 10)
    assert main(["--minutes", "0", "--seed", "7", "--attack", "store", "--attack", "files"]) == 0
    summary = capsys.readouterr().out.splitlines()[-1]
    assert summary.startswith("soak: 2 rounds, 0 operations, 0 kills")
    assert "11 files" in summary
    assert summary.endswith("rows lost 0, doubled 0; ends that differ 0, months half-visible 0")
