# Sourced by t/demo and t/run: a private httpd with the module just built.
#
# As root httpd runs as www-data, and all that it must read lies in $RUNTIME, which it can reach wherever
# the checkout is. As anybody else everything runs as that user.

set -euo pipefail
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
BUILD=$(cd "$TOP" && cd "${BUILD:-build}" && pwd)
APXS=${APXS:-apxs}
HTTPD=$("$APXS" -q SBINDIR)/$("$APXS" -q PROGNAME)
MODULES=$("$APXS" -q LIBEXECDIR)
RUNTIME=""
unset http_proxy HTTP_PROXY all_proxy ALL_PROXY CI_BUILDS_STORAGE

if [ "$(id -u)" = 0 ]; then
    HTTPD_USER=www-data
else
    HTTPD_USER=$(id -un)
fi

die()
{
    printf '%s\n' "$@" >&2
    exit 1
}

# a command as httpd's user
as_httpd_user()
{
    if [ "$(id -u)" = 0 ]; then
        setpriv --reuid="$HTTPD_USER" --regid="$(id -g "$HTTPD_USER")" --init-groups -- "$@"
    else
        "$@"
    fi
}

ci_builds()
{
    "$BUILD/ci-builds" -s "$STORAGE" "$@"
}

# A member of the JSON object on standard input: field artifacts_file sha256
field()
{
    perl -MJSON::PP -0777 -e '
        my $at = JSON::PP->new->utf8->decode(<STDIN>);
        for my $key (@ARGV) { $at = ref $at eq "HASH" ? $at->{$key} : undef }
        print $at // ""' "$@"
}

free_port()
{
    perl -MIO::Socket::INET -e '
        print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

make_runtime()
{
    RUNTIME=$(mktemp -d "/tmp/ci-builds-$1.XXXXXX")
    chmod 755 "$RUNTIME"
    mkdir "$RUNTIME/htdocs"
    cp "$BUILD/mod_ci_builds.so" "$RUNTIME/"
}

# init_storage DRIVER…: make it if it is not there, and keep the lines that it says to paste
init_storage()
{
    local owner=()
    [ "$(id -u)" != 0 ] || owner=(--user "$HTTPD_USER")
    ci_builds init "${owner[@]}" "$@" >"$RUNTIME/snippet"
}

# write_conf ERRORLOG: the whole httpd.conf
write_conf()
{
    {
        echo "ServerName 127.0.0.1"
        echo "ServerRoot \"$RUNTIME\""
        echo "DefaultRuntimeDir \"$RUNTIME\""
        echo "PidFile \"$RUNTIME/httpd.pid\""
        echo "Listen ${LISTEN:-127.0.0.1}:$PORT"
        for module in mpm_event authz_core dir alias dbd; do
            echo "LoadModule ${module}_module \"$MODULES/mod_$module.so\""
        done
        echo "LoadModule ci_builds_module \"$RUNTIME/mod_ci_builds.so\""
        if [ "$(id -u)" = 0 ]; then
            echo "User $HTTPD_USER"
            echo "Group $(id -gn "$HTTPD_USER")"
        fi
        echo "ErrorLog \"$1\""
        echo "LogLevel notice"
        echo "DocumentRoot \"$RUNTIME/htdocs\""
        echo "<Directory />"
        echo "    Require all denied"
        echo "</Directory>"
        echo "<Directory \"$RUNTIME/htdocs\">"
        echo "    Require all granted"
        echo "</Directory>"
        grep -E '^[[:space:]]*DB(Driver|DParams)' "$RUNTIME/snippet"
        echo "DBDMax 4"
        echo "LimitRequestBody 0"
        echo "CIBuilds On"
        echo "CIBuildsStorage \"$STORAGE\""
    } >"$RUNTIME/httpd.conf"
}

# start it in the background; its sockets are open when this comes back
start_server()
{
    "$HTTPD" -f "$RUNTIME/httpd.conf" -k start || return
    until [ -s "$RUNTIME/httpd.pid" ]; do read -r -t 0.1 <> <(:) || true; done
}

stop_server()
{
    local pid
    [ -n "$RUNTIME" ] || return 0
    if pid=$(cat "$RUNTIME/httpd.pid" 2>/dev/null) && kill "$pid" 2>/dev/null; then
        tail --pid="$pid" -f /dev/null
    fi
    rm -rf "$RUNTIME"
    RUNTIME=""
}
