#!/bin/sh
#SBATCH --job-name=sum --mem=64M --time=5

# Submitted with `--after` the array, so all of its files are there.
awk '{ sum += $1 } END { print sum " words" }' count-*.txt
