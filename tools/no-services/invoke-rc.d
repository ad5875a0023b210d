#!/bin/sh
# tools/setup.sh puts this folder in front of the PATH of packages' installation scripts, which start services with
# these two commands: a server that the tests start themselves must not run beside them. Nothing is written anywhere,
# so nothing is left behind, whatever ends the installation.
# "Not running" is the answer to a question about a service; everything else is done, which is: nothing.
case " $* " in
    *" status "*) exit 3 ;;
esac
exit 0
