"""Forecasts of statsforecast and GluonTS, run by `scripts/reproduce forecast` in environments of
their own; it needs nothing of seqlatent.

    python forecast_baselines.py JOB.npz OUT.npz

JOB.npz holds what a method may see, OUT.npz what it says:

    JOB   method     ets, arima (statsforecast) or deepar (GluonTS)
          values     all histories end to end, NaN where nothing was recorded; `lengths` of each
          starts     the first step of each history, ISO dates
          train      (N,) whether DeepAR may train on a history: those of the first window
          horizon, season, frequency, levels, minutes, seed
    OUT   quantiles  (N, Q, H), NaN for the histories that the time did not suffice for
          seconds    of processor time, steps (of training), fallbacks (to the seasonal naive)

Gaps are filled with the value before them, and those at the start with 0, for statsforecast; its
methods see the last 1,000 steps, as in the published table (fev). DeepAR has all defaults of
GluonTS, an epoch is 50 batches of 32, and stops after 100 epochs or when `minutes` of processor
time have passed. Methods of statsforecast stop there too, with the histories that are done.
"""

import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402  (after the threads are set)

MOST = 1000  # steps that statsforecast's methods see
PATHS = 500  # of DeepAR
PERIODS = {"MS": "M", "QS": "Q", "YS": "Y"}  # GluonTS counts periods, not their first days


def main() -> int:
    job_path, out_path = map(Path, sys.argv[1:3])
    with np.load(job_path, allow_pickle=False) as job:
        arrays = {name: job[name] for name in job.files}
    histories = np.split(arrays["values"], np.cumsum(arrays["lengths"])[:-1])
    method = str(arrays["method"])
    start = time.process_time()
    out = (deepar if method == "deepar" else statistical)(method, histories, arrays)
    out["seconds"] = np.array(time.process_time() - start)
    np.savez(out_path, **out)
    return 0


def statistical(method: str, histories: list[np.ndarray], job: dict) -> dict[str, Any]:
    from statsforecast import models  # pyright: ignore[reportMissingImports]

    horizon, season, levels = int(job["horizon"]), int(job["season"]), job["levels"]
    naive = models.SeasonalNaive(season_length=season)
    model = {"ets": models.AutoETS, "arima": models.AutoARIMA}[method](season_length=season)
    quantiles = np.full((len(histories), len(levels), horizon), np.nan)
    end = time.process_time() + 60 * float(job["minutes"])
    fallbacks = 0
    for i, history in enumerate(histories):
        if time.process_time() > end:
            break
        y = filled(history)[-MOST:]
        rows = one(model, y, horizon, levels)
        if rows is None or not np.isfinite(rows).all():
            rows = one(naive, y, horizon, levels)
            fallbacks += 1
        if rows is None or not np.isfinite(rows).all():  # not one season of history
            rows = np.broadcast_to(y[-1], (len(levels), horizon))
        quantiles[i] = rows
        tell(f"{method}: {i + 1} of {len(histories)}")
    return {"quantiles": quantiles, "fallbacks": np.array(fallbacks), "steps": np.array(0)}


def one(model: Any, y: np.ndarray, horizon: int, levels: np.ndarray) -> np.ndarray | None:
    """(Q, H) quantiles of one history, from central intervals; None where the method fails."""
    central = sorted({round(abs(q - 0.5) * 200, 6) for q in levels} - {0.0})
    wanted = [int(c) if c == int(c) else c for c in central]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forecast = model.forecast(y=y, h=horizon, level=wanted)
    except Exception:  # whatever it is, the seasonal naive stands in, as in the published tables
        return None
    rows = []
    for q in levels:
        width = round(abs(q - 0.5) * 200, 6)
        width = int(width) if width == int(width) else width
        key = "mean" if width == 0 else f"{'lo' if q < 0.5 else 'hi'}-{width}"
        rows.append(forecast[key])
    return np.stack(rows)


def filled(history: np.ndarray) -> np.ndarray:
    known = np.isfinite(history)
    last = np.maximum.accumulate(np.where(known, np.arange(len(history)), -1))
    return np.where(last < 0, 0.0, history[last])


def deepar(method: str, histories: list[np.ndarray], job: dict) -> dict[str, Any]:
    import lightning.pytorch as pl  # pyright: ignore[reportMissingImports]
    import pandas as pd
    import torch
    from gluonts.dataset.common import ListDataset  # pyright: ignore[reportMissingImports]
    from gluonts.torch import DeepAREstimator  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    pl.seed_everything(int(job["seed"]), verbose=False)
    warnings.simplefilter("ignore")
    frequency = PERIODS.get(str(job["frequency"]), str(job["frequency"]))
    end = time.process_time() + 60 * float(job["minutes"])

    class UntilTheTimeIsUp(pl.Callback):
        steps = 0

        def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            self.steps += 1
            if self.steps % 50 == 0:
                tell(f"deepar: {self.steps} steps")
            if time.process_time() > end:
                trainer.should_stop = True

    def data(chosen: np.ndarray) -> Any:
        entries = [
            {"target": histories[i], "start": pd.Period(str(job["starts"][i]), freq=frequency)}
            for i in np.flatnonzero(chosen)
        ]
        return ListDataset(entries, freq=frequency)

    stop = UntilTheTimeIsUp()
    trainer = {"max_epochs": 100, "accelerator": "cpu", "callbacks": [stop], "logger": False,
               "enable_progress_bar": False, "enable_model_summary": False}  # fmt: skip
    horizon = int(job["horizon"])
    with tempfile.TemporaryDirectory() as folder:  # of its checkpoints
        trainer["default_root_dir"] = folder
        estimator = DeepAREstimator(frequency, horizon, trainer_kwargs=trainer)
        predictor = estimator.train(data(job["train"]))
    rows = [
        np.quantile(forecast.samples, job["levels"], axis=0)
        for forecast in predictor.predict(data(np.ones(len(histories), bool)), num_samples=PATHS)
    ]
    return {"quantiles": np.stack(rows), "steps": np.array(stop.steps), "fallbacks": np.array(0)}


def tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
