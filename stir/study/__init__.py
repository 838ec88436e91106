"""Studies of many networks: hypotheses, verdicts and figures."""
