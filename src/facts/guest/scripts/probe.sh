#!/bin/sh
# azmend-guest probe/1
# What can stop Azure Backup inside Linux, one line for each fact. It changes nothing and writes no file. POSIX sh.
# Lines: key=value. A fact that cannot be read: key=unread why. The first and the last line prove that all is there.
# $1: where the file system begins; azmend leaves it out, its tests name a directory.
LC_ALL=C
export LC_ALL
root="${1:-}"
PATH="${root:+$root/usr/bin:}/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
conf="$root/etc/waagent.conf"

# A setting as the agent reads it: lines that begin with # are comments, the last line of a key counts, a # in the
# value begins a comment, blanks and quotes around it do not count.
setting() {
    if [ ! -r "$conf" ]; then
        echo 'unread no waagent.conf'
        return
    fi
    value=$(awk -v want="$1" '
        /^#/ || !index($0, "=") { next }
        {
            at = index($0, "=")
            key = substr($0, 1, at - 1)
            value = substr($0, at + 1)
            gsub(/^[ \t]+|[ \t\r]+$/, "", key)
            sub(/#.*/, "", value)
            gsub(/^[ \t"]+|[ \t\r"]+$/, "", value)
            if (key == want) { found = value }
        }
        END { print found }' "$conf" 2>/dev/null) || value='unread awk failed'
    case "$value" in
        'unread '*) echo "$value" ;;
        '' | None) echo '-' ;;
        *[!A-Za-z0-9_.-]*) echo 'other' ;;
        *) printf '%.20s\n' "$value" ;;
    esac
}

# The agent's service: its state and whether it starts with the system.
agent() {
    if ! command -v systemctl >/dev/null 2>&1; then
        echo 'unread no systemctl'
        return
    fi
    for unit in walinuxagent waagent; do
        if systemctl cat "$unit" >/dev/null 2>&1; then
            echo "$(systemctl is-active "$unit" 2>/dev/null) $(systemctl is-enabled "$unit" 2>/dev/null)"
            return
        fi
    done
    echo 'absent'
}

echo 'azmend-probe/1'
echo 'os=linux'
echo "service.agent=$(agent)"
for key in Extensions.Enabled Extensions.Enable Provisioning.Agent; do
    echo "conf.$key=$(setting "$key")"
done
echo 'end=azmend-probe/1'
