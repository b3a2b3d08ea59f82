#!/bin/sh
# azmend-guest agent-conf/1
# Changes one setting in /etc/waagent.conf, when it still has the value that azmend read. POSIX sh.
# $1: the key; $2: its value now; $3: its new value; $4: where the file system begins (azmend leaves it out).
# Only the value in the last line of that key changes: comments, quotes, order, owner and mode of the file stay.
# The agent is not restarted: it reads the file when it starts the next time.
# What is proven is what the probe reads afterwards, not what this prints.
LC_ALL=C
export LC_ALL
key="$1"
old="$2"
new="$3"
conf="${4:-}/etc/waagent.conf"
echo 'azmend-agent-conf/1'
finish() {
    echo "$1"
    echo 'end=azmend-agent-conf/1'
    exit 0
}
case "$key" in
    Extensions.Enabled | Provisioning.Agent) ;;
    *) finish 'failed=unknown key' ;;
esac
case "$old$new" in
    *[!A-Za-z0-9_.-]*) finish 'failed=not a plain value' ;;
esac
if [ -z "$old" ] || [ -z "$new" ]; then finish 'failed=no value'; fi
if [ ! -f "$conf" ]; then finish 'failed=no waagent.conf'; fi
beside="$conf.azmend.$$"
# cp -p first, so that owner and mode are those of the file.
if ! cp -p "$conf" "$beside"; then finish 'failed=cannot write beside the file'; fi
if awk -v want="$key" -v old="$old" -v new="$new" '
    { line[NR] = $0 }
    /^#/ || !index($0, "=") { next }
    {
        key = substr($0, 1, index($0, "=") - 1)
        gsub(/^[ \t]+|[ \t\r]+$/, "", key)
        if (key == want) { last = NR }
    }
    END {
        if (!last) { exit 3 }
        at = index(line[last], "=")
        head = substr(line[last], 1, at)
        tail = substr(line[last], at + 1)
        if (!match(tail, /^[ \t"]*/)) { exit 3 }
        head = head substr(tail, 1, RLENGTH)
        tail = substr(tail, RLENGTH + 1)
        if (substr(tail, 1, length(old)) != old) { exit 4 }
        tail = substr(tail, length(old) + 1)
        if (tail !~ /^[ \t\r"]*(#.*)?$/) { exit 4 }
        line[last] = head new tail
        for (i = 1; i <= NR; i++) { print line[i] }
    }' "$conf" > "$beside" && mv -f "$beside" "$conf"; then
    finish 'done=yes'
fi
rm -f "$beside"
finish 'failed=the setting is not as it was'
