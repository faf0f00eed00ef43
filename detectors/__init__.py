"""Incremental drift statistics and online drift detectors; numpy only. docs/DETECTORS.md shows them in use.

`ADWIN`, `EDetector` and `WindowedKS` watch one stream of numbers and have River's interface (`update(x)`,
`drift_detected`). The rest is what they and the stream workers are made of, vectorised over windows and signals: codes
and sketches of values, statistics on counts, and the battery with its thresholds.
"""

from driftline.detectors.decision.absence import judge as judge_traffic
from driftline.detectors.decision.battery import Battery, Column
from driftline.detectors.decision.thresholds import Dependence, independence_bound
from driftline.detectors.decision.traffic import Traffic
from driftline.detectors.online.adwin import ADWIN
from driftline.detectors.online.edetector import EDetector
from driftline.detectors.online.windowed_ks import CountedSample, WindowedKS
from driftline.detectors.statistics.categorical import categorical_evidence, rate_evidence
from driftline.detectors.statistics.cut import cut_evidence
from driftline.detectors.statistics.effect_sizes import jensen_shannon, psi, wasserstein
from driftline.detectors.statistics.ks import ks_evidence, ks_statistic
from driftline.detectors.statistics.ks_pvalue import ks_pvalue
from driftline.detectors.summaries.codes import Categories, Grid, Kind, Special
from driftline.detectors.summaries.exponential_histogram import ExponentialHistogram
from driftline.detectors.summaries.layout import Layout, Signal
from driftline.detectors.summaries.sketch import Sketch, Summary

__all__ = [
    "ADWIN",
    "Battery",
    "Categories",
    "Column",
    "CountedSample",
    "Dependence",
    "EDetector",
    "ExponentialHistogram",
    "Grid",
    "Kind",
    "Layout",
    "Signal",
    "Sketch",
    "Special",
    "Summary",
    "Traffic",
    "WindowedKS",
    "categorical_evidence",
    "cut_evidence",
    "independence_bound",
    "jensen_shannon",
    "judge_traffic",
    "ks_evidence",
    "ks_pvalue",
    "ks_statistic",
    "psi",
    "rate_evidence",
    "wasserstein",
]
