#!/bin/sh
#SBATCH --job-name=count
#SBATCH --array=1-3%2
#SBATCH --cpus-per-task=1 --mem=64M --time=5
#SBATCH --output=count-%a.txt

# One task for each text. What it prints is in count-N.txt, in the directory that the script was submitted from.
wc -w < "text-$SLURM_ARRAY_TASK_ID.txt"
