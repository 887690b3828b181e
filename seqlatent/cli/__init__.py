"""The command line.

app        the program `seqlatent`: its commands, and how errors end it
common     arguments and checks that the commands share
catalogue  datasets, models
fit        fit
combine    combine
compare    compare
score      score
forecast   forecast, sample
evaluate   evaluate
latents    encode, decode, impute, inspect
"""
