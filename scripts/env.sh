# Where the environments lie; sourced by the other scripts. The folder's name holds a hash of the pins, so that a
# changed pin makes a new environment and never a mixed one.
PG_PINS=$(sha256sum <requirements.txt | cut -c1-12)
PG_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/paligemma-serving/$PG_PINS
PG_VENV=$PG_CACHE/venv
PG_CUDA_HOME=$PG_VENV/lib/python3.11/site-packages/nvidia/cu13
export CCACHE_DIR=${CCACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/paligemma-serving/ccache}
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=5G
