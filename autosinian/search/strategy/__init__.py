"""The joint strategy: predictors, proposals and what they are worth; numpy, scipy and Optuna."""
