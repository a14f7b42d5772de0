# ---- pretext: 1 tasks, sent with sbatch
#!/bin/bash

# Parameters
#SBATCH --account=survey
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name=small.pretext
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=7680M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/WORK/my disk/runs/small/.tasks/logs/%j_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
module load apptainer
export OMP_NUM_THREADS=4
export ASTROSSL_CACHE='/scratch disk/cache'
export GREETING='it'"'"'s $HOME'
export ASTROSSL_SIGNAL_DELAY=120
set +o errexit +o nounset +o pipefail; trap - ERR

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/WORK/my disk/runs/small/.tasks/logs/%j_%t_log.out' --cpus-per-task=4 --export=ALL --kill-on-bad-exit=1 apptainer exec --nv --bind "/scratch disk" image.sif python3 -u -m submitit.core._submit '/WORK/my disk/runs/small/.tasks/logs'


# teardown
status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
at='/WORK/my disk/runs/small/.tasks/logs'/$job
echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS
export LC_ALL=C
again=
if [ -e "$at.requeue" ]; then again=1; fi
case $status in 134|135|137|139|140|143)
    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi
    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le 2 ]; then
        for pause in 5 10 0; do
            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |
                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |
                grep -axE 'BOOT_FAIL|CANCELLED|COMPLETED|COMPLETING|CONFIGURING|DEADLINE|EXPEDITING|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PENDING|POWER_UP_NODE|PREEMPTED|RECONFIG_FAIL|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESIZING|RESV_DEL_HOLD|RUNNING|SIGNALING|SPECIAL_EXIT|STAGE_OUT|STOPPED|SUSPENDED|TIMEOUT' | tail -n 1)
            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |
                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
            if [ -n "$state" ]; then break; fi
            sleep $pause
        done
        case ${state:-RUNNING} in RESIZING|RUNNING|SIGNALING|STAGE_OUT|STOPPED|SUSPENDED) again=1 ;; esac
    fi ;;
esac
if [ -e "$at.cancelled" ]; then again=; fi
rm -f "$at.requeue" "$at.failed"
if [ -n "$again" ]; then
    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done
    touch "$at.lost"
fi
exit $status

#  0: astrossl train runs/small/pretext_pretext_nall_s0-bc283baa/config.yaml --workdir .

# ---- scratch: 3 tasks, sent with sbatch
#!/bin/bash

# Parameters
#SBATCH --account=survey
#SBATCH --array=0-2%3
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name=small.scratch
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=7680M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/WORK/my disk/runs/small/.tasks/logs/%A_%a_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
module load apptainer
export OMP_NUM_THREADS=4
export ASTROSSL_CACHE='/scratch disk/cache'
export GREETING='it'"'"'s $HOME'
export ASTROSSL_SIGNAL_DELAY=120
set +o errexit +o nounset +o pipefail; trap - ERR

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/WORK/my disk/runs/small/.tasks/logs/%A_%a_%t_log.out' --cpus-per-task=4 --export=ALL --kill-on-bad-exit=1 apptainer exec --nv --bind "/scratch disk" image.sif python3 -u -m submitit.core._submit '/WORK/my disk/runs/small/.tasks/logs'


# teardown
status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
at='/WORK/my disk/runs/small/.tasks/logs'/$job
echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS
export LC_ALL=C
again=
if [ -e "$at.requeue" ]; then again=1; fi
case $status in 134|135|137|139|140|143)
    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi
    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le 2 ]; then
        for pause in 5 10 0; do
            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |
                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |
                grep -axE 'BOOT_FAIL|CANCELLED|COMPLETED|COMPLETING|CONFIGURING|DEADLINE|EXPEDITING|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PENDING|POWER_UP_NODE|PREEMPTED|RECONFIG_FAIL|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESIZING|RESV_DEL_HOLD|RUNNING|SIGNALING|SPECIAL_EXIT|STAGE_OUT|STOPPED|SUSPENDED|TIMEOUT' | tail -n 1)
            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |
                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
            if [ -n "$state" ]; then break; fi
            sleep $pause
        done
        case ${state:-RUNNING} in RESIZING|RUNNING|SIGNALING|STAGE_OUT|STOPPED|SUSPENDED) again=1 ;; esac
    fi ;;
esac
if [ -e "$at.cancelled" ]; then again=; fi
rm -f "$at.requeue" "$at.failed"
if [ -n "$again" ]; then
    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done
    touch "$at.lost"
fi
exit $status

#  0: astrossl train runs/small/SG_scratch_nall_s0-df5cf5c1/config.yaml --workdir .
#  1: astrossl train runs/small/SG_scratch_nall_s1-b3db96a3/config.yaml --workdir .
#  2: astrossl train runs/small/SG_scratch_nall_s2-2aadf15b/config.yaml --workdir .

# ---- scratch: 1 tasks, sent with sbatch
#!/bin/bash

# Parameters
#SBATCH --account=survey
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name=small.scratch
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=7680M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/WORK/my disk/runs/small/.tasks/logs/%j_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
module load apptainer
export OMP_NUM_THREADS=4
export ASTROSSL_CACHE='/scratch disk/cache'
export GREETING='it'"'"'s $HOME'
export ASTROSSL_SIGNAL_DELAY=120
set +o errexit +o nounset +o pipefail; trap - ERR

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/WORK/my disk/runs/small/.tasks/logs/%j_%t_log.out' --cpus-per-task=4 --export=ALL --kill-on-bad-exit=1 apptainer exec --nv --bind "/scratch disk" image.sif python3 -u -m submitit.core._submit '/WORK/my disk/runs/small/.tasks/logs'


# teardown
status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
at='/WORK/my disk/runs/small/.tasks/logs'/$job
echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS
export LC_ALL=C
again=
if [ -e "$at.requeue" ]; then again=1; fi
case $status in 134|135|137|139|140|143)
    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi
    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le 2 ]; then
        for pause in 5 10 0; do
            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |
                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |
                grep -axE 'BOOT_FAIL|CANCELLED|COMPLETED|COMPLETING|CONFIGURING|DEADLINE|EXPEDITING|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PENDING|POWER_UP_NODE|PREEMPTED|RECONFIG_FAIL|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESIZING|RESV_DEL_HOLD|RUNNING|SIGNALING|SPECIAL_EXIT|STAGE_OUT|STOPPED|SUSPENDED|TIMEOUT' | tail -n 1)
            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |
                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
            if [ -n "$state" ]; then break; fi
            sleep $pause
        done
        case ${state:-RUNNING} in RESIZING|RUNNING|SIGNALING|STAGE_OUT|STOPPED|SUSPENDED) again=1 ;; esac
    fi ;;
esac
if [ -e "$at.cancelled" ]; then again=; fi
rm -f "$at.requeue" "$at.failed"
if [ -n "$again" ]; then
    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done
    touch "$at.lost"
fi
exit $status

#  0: astrossl train runs/small/SG_scratch_nall_s3-43d643c8/config.yaml --workdir .

# ---- features-magnitudes: 2 tasks, sent with sbatch
#!/bin/bash

# Parameters
#SBATCH --account=survey
#SBATCH --array=0-1%2
#SBATCH --cpus-per-task=4
#SBATCH --dependency='afterok:<pretext>'
#SBATCH --gpus-per-node=1
#SBATCH --job-name=small.features-magnitudes
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=7680M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/WORK/my disk/runs/small/.tasks/logs/%A_%a_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
module load apptainer
export OMP_NUM_THREADS=4
export ASTROSSL_CACHE='/scratch disk/cache'
export GREETING='it'"'"'s $HOME'
export ASTROSSL_SIGNAL_DELAY=120
set +o errexit +o nounset +o pipefail; trap - ERR

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/WORK/my disk/runs/small/.tasks/logs/%A_%a_%t_log.out' --cpus-per-task=4 --export=ALL --kill-on-bad-exit=1 apptainer exec --nv --bind "/scratch disk" image.sif python3 -u -m submitit.core._submit '/WORK/my disk/runs/small/.tasks/logs'


# teardown
status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
at='/WORK/my disk/runs/small/.tasks/logs'/$job
echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS
export LC_ALL=C
again=
if [ -e "$at.requeue" ]; then again=1; fi
case $status in 134|135|137|139|140|143)
    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi
    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le 2 ]; then
        for pause in 5 10 0; do
            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |
                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |
                grep -axE 'BOOT_FAIL|CANCELLED|COMPLETED|COMPLETING|CONFIGURING|DEADLINE|EXPEDITING|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PENDING|POWER_UP_NODE|PREEMPTED|RECONFIG_FAIL|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESIZING|RESV_DEL_HOLD|RUNNING|SIGNALING|SPECIAL_EXIT|STAGE_OUT|STOPPED|SUSPENDED|TIMEOUT' | tail -n 1)
            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |
                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
            if [ -n "$state" ]; then break; fi
            sleep $pause
        done
        case ${state:-RUNNING} in RESIZING|RUNNING|SIGNALING|STAGE_OUT|STOPPED|SUSPENDED) again=1 ;; esac
    fi ;;
esac
if [ -e "$at.cancelled" ]; then again=; fi
rm -f "$at.requeue" "$at.failed"
if [ -n "$again" ]; then
    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done
    touch "$at.lost"
fi
exit $status

#  0: astrossl train runs/small/SG_features-magnitudes_nall_s0-8d9ec787/config.yaml runs/small/SG_features-magnitudes_nall_s1-2d1ba4c8/config.yaml --workdir .
#  1: astrossl train runs/small/SG_features-magnitudes_nall_s2-08b7985c/config.yaml runs/small/SG_features-magnitudes_nall_s3-6778150f/config.yaml --workdir .

# ---- report: 1 tasks, sent with sbatch
#!/bin/bash

# Parameters
#SBATCH --account=survey
#SBATCH --cpus-per-task=4
#SBATCH --dependency='afterany:<pretext>:<scratch>:<features-magnitudes>'
#SBATCH --gpus-per-node=1
#SBATCH --job-name=small.report
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --mail-type=END
#SBATCH --mem=7680M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/WORK/my disk/runs/small/.tasks/logs/%j_0_log.out'
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=60

# setup
module load apptainer
export OMP_NUM_THREADS=4
export ASTROSSL_CACHE='/scratch disk/cache'
export GREETING='it'"'"'s $HOME'
export ASTROSSL_SIGNAL_DELAY=120
set +o errexit +o nounset +o pipefail; trap - ERR

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/WORK/my disk/runs/small/.tasks/logs/%j_%t_log.out' --cpus-per-task=4 --export=ALL --kill-on-bad-exit=1 apptainer exec --nv --bind "/scratch disk" image.sif python3 -u -m submitit.core._submit '/WORK/my disk/runs/small/.tasks/logs'


# teardown
status=$?
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}
at='/WORK/my disk/runs/small/.tasks/logs'/$job
echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"
unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS
export LC_ALL=C
again=
if [ -e "$at.requeue" ]; then again=1; fi
case $status in 134|135|137|139|140|143)
    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi
    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le 2 ]; then
        for pause in 5 10 0; do
            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |
                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |
                grep -axE 'BOOT_FAIL|CANCELLED|COMPLETED|COMPLETING|CONFIGURING|DEADLINE|EXPEDITING|FAILED|LAUNCH_FAILED|NODE_FAIL|OUT_OF_MEMORY|PENDING|POWER_UP_NODE|PREEMPTED|RECONFIG_FAIL|REQUEUED|REQUEUE_FED|REQUEUE_HOLD|RESIZING|RESV_DEL_HOLD|RUNNING|SIGNALING|SPECIAL_EXIT|STAGE_OUT|STOPPED|SUSPENDED|TIMEOUT' | tail -n 1)
            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |
                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)
            if [ -n "$state" ]; then break; fi
            sleep $pause
        done
        case ${state:-RUNNING} in RESIZING|RUNNING|SIGNALING|STAGE_OUT|STOPPED|SUSPENDED) again=1 ;; esac
    fi ;;
esac
if [ -e "$at.cancelled" ]; then again=; fi
rm -f "$at.requeue" "$at.failed"
if [ -n "$again" ]; then
    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done
    touch "$at.lost"
fi
exit $status

#  0: astrossl report small --workdir .

