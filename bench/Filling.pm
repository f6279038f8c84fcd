package Filling;

# An instance as it is after years: by SQL, for nobody wants to wait for a million builds that are
# added one by one. It begins with what ci-builds made, so that a claim finds everything it needs.

use strict;
use warnings;

use constant SHA => 'a' x 40;

# The tags of builds that are pending in a few projects, and in all of them.
use constant { FEW => 'few', ALL => 'all' };

# How many are few.
use constant LANES => 10;

# Runners that are measured, each with the tags of the builds it takes.
our %KIND = (specific => FEW, shared => FEW, everywhere => ALL);

# These runners, and a project whose builds all of them take: what a filled instance and an empty one
# have in common. Returns the runners' tokens by kind.
sub begin {
    my ($server) = @_;
    my %token;
    for my $kind (sort keys %KIND) {
        my @whose = $kind eq 'specific' ? ('--project', $server->{project}) : '--shared';
        $token{$kind} = $server->ci_builds(qw(runner add --no-untagged --tags), $KIND{$kind}, @whose)->{token};
    }
    add($server, $_, 1) for FEW, ALL;
    return \%token;
}

sub add {
    my ($server, $tags, $count) = @_;
    return $server->ci_builds(qw(build add --project), $server->{project}, '--sha', SHA, '--tags', $tags, '--count', $count);
}

# fill($server, finished => , barred => pending builds that none of them takes, open => pending builds in
# a few projects, and as many in all, projects => , runners => )
sub fill {
    my ($server, %of) = @_;
    my ($tagsets, $lanes) = (50, LANES);
    run_sql($server,
        series('i', 2, $of{projects}, q{INSERT INTO projects (name, repo_url, repo_auth_token, timeout, allow_git_fetch,
            shared_runners_enabled, builds_enabled, token_sha256, created_at)
            SELECT 'project ' || i, 'http://127.0.0.1/' || i || '.git', 0, 3600, 1, 1, 1, 'project ' || i, p.created_at
            FROM n CROSS JOIN (SELECT min(created_at) AS created_at FROM projects) p}),
        series('i', 1, $tagsets, q{INSERT INTO tagsets (tags) SELECT 'other-' || i FROM n}),
        series('i', 3, $of{runners}, q{INSERT INTO runners (description, active, is_shared, locked, run_untagged, tags, token_sha256, created_at)
            SELECT 'filling', 1, i % 2, 0, 0, (SELECT tags FROM tagsets WHERE id = 3 + i % 50), 'runner ' || i, p.created_at
            FROM n CROSS JOIN (SELECT min(created_at) AS created_at FROM projects) p}),
        q{INSERT INTO takes (runner_id, tagset_id) SELECT r.id, s.id FROM runners r JOIN tagsets s ON s.tags = r.tags
            WHERE r.description = 'filling'},
        q{INSERT INTO runner_projects (runner_id, project_id) SELECT r.id, p.id FROM runners r JOIN projects p
            ON p.id % 100 = r.id % 100 WHERE r.description = 'filling' AND r.is_shared = 0},
        qq{INSERT INTO runner_projects (runner_id, project_id) SELECT r.id, p.id FROM runners r CROSS JOIN projects p
            WHERE r.tags = '@{[FEW]}' AND r.is_shared = 0 AND p.id <= $lanes AND p.id <> $server->{project}},
        builds($of{finished}, 'success', $of{projects}, "(SELECT id FROM tagsets WHERE tags = 'other-1') + i % $tagsets"),
        builds($of{barred}, 'pending', $of{projects}, "(SELECT id FROM tagsets WHERE tags = 'other-1') + i % $tagsets"),
        builds($of{open}, 'pending', $lanes, "(SELECT id FROM tagsets WHERE tags = '@{[FEW]}')"),
        builds($of{open}, 'pending', $of{projects}, "(SELECT id FROM tagsets WHERE tags = '@{[ALL]}')"),
        q{INSERT INTO build_specs (build_id, commands, options) SELECT id, 'make check', '{}' FROM builds
            WHERE id NOT IN (SELECT build_id FROM build_specs)},
        q{INSERT INTO queue (tagset_id, project_id, build_id) SELECT tagset_id, project_id, id FROM builds
            WHERE status = 'pending' AND name = 'filling'});
    return;
}

sub series {
    my ($name, $from, $to, $statement) = @_;
    my ($head, $select) = $statement =~ /^(INSERT INTO \w+ \([^)]*\))\s+(.*)$/s or die "no INSERT: $statement\n";
    return "$head WITH RECURSIVE n ($name) AS (SELECT $from UNION ALL SELECT $name + 1 FROM n WHERE $name < $to) $select";
}

# One for each second of the last days, the newest last.
sub builds {
    my ($count, $status, $projects, $tagset) = @_;
    return unless $count;
    my $is_over = $status eq 'success' ? 1 : 0;
    my $at = (time - $count) * 1_000_000;
    return series('i', 1, $count, qq{INSERT INTO builds (project_id, status, name, stage, ref, tag, sha, tagset_id, runner_id, timeout,
        claim, created_at, queued_at, started_at, finished_at)
        SELECT 1 + i % $projects, '$status', 'filling', 'test', 'master', 0, '@{[SHA]}', $tagset,
        CASE WHEN $is_over = 1 THEN 1 + i % 100 END, 3600, $is_over, t, t, CASE WHEN $is_over = 1 THEN t END,
        CASE WHEN $is_over = 1 THEN t END
        FROM (SELECT i, $at + CAST(i AS bigint) * 1000000 AS t FROM n) s});
}

sub run_sql {
    my ($server, @statements) = @_;
    my $is_sqlite = $server->{driver} eq 'sqlite3';
    $server->sql(join ";\n", ($is_sqlite ? 'PRAGMA synchronous=OFF' : ()), 'BEGIN', @statements, 'COMMIT;');
    $server->sql($_) for $is_sqlite ? 'PRAGMA wal_checkpoint(TRUNCATE)' : ('VACUUM ANALYZE', 'CHECKPOINT');
    return;
}

1;
