# mod_ci_builds: the build. `make help` lists the targets.
BUILD   ?= build
APXS    ?= apxs
CC      ?= gcc
PREFIX  ?= /usr
SYSBIN   = $(DESTDIR)$(PREFIX)/bin
SYSMAN   = $(DESTDIR)$(PREFIX)/share/man
SYSCOMP  = $(DESTDIR)$(PREFIX)/share/bash-completion/completions

# What the system says is asked when a recipe first needs it, and once: nothing of it exists before
# `make deps` has run.
once = $(eval $1 := $(shell $2))$($1)

HTTPD_CFLAGS = $(call once,HTTPD_CFLAGS,echo "$$($(APXS) -q CFLAGS) -I$$($(APXS) -q INCLUDEDIR)")
APR_CFLAGS   = $(call once,APR_CFLAGS,apr-1-config --cppflags --cflags --includes; apu-1-config --includes)
APR_LIBS     = $(call once,APR_LIBS,apr-1-config --link-ld; apu-1-config --link-ld)
LIB_CFLAGS   = $(call once,LIB_CFLAGS,pkg-config --cflags json-c libcrypto zlib libpq sqlite3 libarchive)
LIB_LIBS     = $(call once,LIB_LIBS,pkg-config --libs json-c libcrypto zlib)
BACKUP_LIBS  = $(call once,BACKUP_LIBS,pkg-config --libs libarchive)
LIBEXECDIR   = $(call once,LIBEXECDIR,$(APXS) -q LIBEXECDIR)
SYSCONFDIR   = $(call once,SYSCONFDIR,$(APXS) -q SYSCONFDIR)
WARN         = -Wall -Wextra -Wformat=2 -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
               -Wno-unused-parameter -Wimplicit-fallthrough
CIB_CFLAGS   = -std=gnu11 -O2 -g -fPIC -fno-strict-aliasing -D_GNU_SOURCE $(WARN) $(WERROR) -Iinclude $(SANITIZE)

# what needs no server (the command line and the unit tests link it), and what does
CORE_SRC   = $(filter-out $(BACKUP_SRC),$(wildcard src/util/*.c src/files/*.c src/store/*.c src/core/*.c))
PARSER_SRC = $(addprefix src/http/,buffer.c content_range.c digest_value.c field.c form_parser.c header_value.c \
               json_parser.c multipart_parser.c params.c)
# backup and restore: the module has no use for them, nor for libarchive
BACKUP_SRC = $(addprefix src/files/,archive.c unarchive.c outfile.c spool.c) \
               $(addprefix src/store/,dump.c snapshot.c) $(addprefix src/core/,backup.c line.c manifest.c restore.c)
MODULE_SRC = mod_ci_builds.c $(wildcard src/http/*.c src/server/*.c src/api/*.c)
CLI_SRC    = $(wildcard src/cli/*.c)

CORE_OBJ   = $(CORE_SRC:%.c=$(BUILD)/%.o)
BACKUP_OBJ = $(BACKUP_SRC:%.c=$(BUILD)/%.o)
PARSER_OBJ = $(PARSER_SRC:%.c=$(BUILD)/%.o)
MODULE_OBJ = $(MODULE_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ    = $(CLI_SRC:%.c=$(BUILD)/%.o)

all: $(BUILD)/mod_ci_builds.so $(BUILD)/ci-builds

# the compiler's command lines are long: V=1 shows them
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $1  $2')

$(BUILD)/mod_ci_builds.so: $(MODULE_OBJ) $(CORE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SANITIZE) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/ci-builds: $(CLI_OBJ) $(PARSER_OBJ) $(CORE_OBJ) $(BACKUP_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANITIZE) -o $@ $^ $(LDFLAGS) $(LIB_LIBS) $(BACKUP_LIBS) $(APR_LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CIB_CFLAGS) $(APR_CFLAGS) $(HTTPD_CFLAGS) $(LIB_CFLAGS) $(CFLAGS) -MMD -c -o $@ $<

# what `ci-builds init` prints for LoadModule
$(BUILD)/src/cli/making.o: CIB_CFLAGS += -DCIB_MODULES_DIR='"$(LIBEXECDIR)"'

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
-include t/unit/unit.mk t/fuzz/fuzz.mk

help:
	@echo 'make             build $(BUILD)/mod_ci_builds.so and $(BUILD)/ci-builds'
	@echo 'make deps        install the Debian packages that build, run and test need'
	@echo 'make demo        see it work: a private httpd, a runner, three builds (under a minute)'
	@echo 'make run         the same server in the foreground for you (PORT=8080 STORAGE=./run)'
	@echo 'make check       every test, on SQLite and on PostgreSQL'
	@echo 'make check-asan  the tests with AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make check-valgrind  the tests with valgrind memcheck'
	@echo 'make check-threads   the tests with ThreadSanitizer'
	@echo 'make fuzz        the fuzzers, each for FUZZ_SECONDS=60 (FUZZ=multipart: that one)'
	@echo 'make torture     what is broken on purpose, TORTURE_SECONDS=20 for each file and cell'
	@echo 'make bench       the benchmarks: a table of ratios (BENCH=--quick: a look)'
	@echo 'make lint        clang-format, clang-tidy, cppcheck, gcc -fanalyzer and the rules of the house'
	@echo 'make install     the module, ci-builds, its man page and mods-available (DESTDIR, PREFIX)'
	@echo 'make clean       remove $(BUILD)'

# Each of these installs what is missing first and then starts make anew, which only then can ask the
# system for its flags.
deps:
	@t/deps

demo: deps
	@$(MAKE) --no-print-directory all
	@BUILD='$(BUILD)' APXS='$(APXS)' t/demo

run: deps
	@$(MAKE) --no-print-directory all
	@BUILD='$(BUILD)' APXS='$(APXS)' PORT='$(or $(PORT),8080)' STORAGE='$(or $(STORAGE),./run)' t/run

check: deps
	@$(MAKE) --no-print-directory all unit replays
	@$(MAKE) --no-print-directory check-built

check-asan: deps
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/asan' SANITIZE='$(ASAN)' all unit replays
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/asan' CHECK='--under asan $(CHECK)' check-built
ASAN = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer

# httpd and the unit tests run as they are built for everybody
check-valgrind:
	@t/deps valgrind
	@$(MAKE) --no-print-directory all unit replays
	@$(MAKE) --no-print-directory CHECK='--under memcheck $(CHECK)' check-built

check-threads: deps
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/tsan' SANITIZE=-fsanitize=thread all unit replays
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/tsan' CHECK='--under tsan $(CHECK)' check-built

# CHECK holds options and files for t/check, e.g. CHECK='--cell sqlite3-event t/v1/trace.t'
check-built:
	@BUILD='$(BUILD)' APXS='$(APXS)' UNIT_TESTS='$(UNIT_TESTS)' t/check $(CHECK)

# FUZZ names targets, FUZZ_SECONDS is the time of each, FUZZ_ADD=1 lets the corpus grow
fuzz:
	@t/deps fuzz
	@$(MAKE) --no-print-directory BUILD='$(BUILD)/fuzz' CC='$(or $(FUZZ_CC),clang)' \
	    SANITIZE='-fsanitize=fuzzer-no-link $(ASAN)' UNCOVERED=-fno-sanitize=fuzzer-no-link fuzzers
	@BUILD='$(BUILD)/fuzz' t/fuzz/run --seconds '$(or $(FUZZ_SECONDS),60)' $(if $(FUZZ_ADD),--add) $(FUZZ)

# each file of t/torture at length, on every cell; TORTURE_SEED repeats one that failed
torture: deps
	@$(MAKE) --no-print-directory all
	@TORTURE_SECONDS='$(TORTURE_SECONDS)' BUILD='$(BUILD)' APXS='$(APXS)' t/torture/run $(CHECK)

# BENCH holds options and rows for bench/run, e.g. BENCH='--quick claims'
bench:
	@t/deps bench
	@$(MAKE) --no-print-directory all
	@BUILD='$(BUILD)' APXS='$(APXS)' bench/run $(BENCH)

lint: deps
	@$(MAKE) --no-print-directory lint-installed
lint-installed:
	@CC='$(CC)' CFLAGS_LINT='$(CIB_CFLAGS) $(APR_CFLAGS) $(HTTPD_CFLAGS) $(LIB_CFLAGS)' t/lint

install: all
	install -d $(DESTDIR)$(LIBEXECDIR) $(SYSBIN) $(SYSMAN)/man1 $(SYSCOMP) $(DESTDIR)$(SYSCONFDIR)/mods-available
	install -m 644 $(BUILD)/mod_ci_builds.so $(DESTDIR)$(LIBEXECDIR)/
	install -m 755 $(BUILD)/ci-builds $(SYSBIN)/
	install -m 644 docs/ci-builds.1 $(SYSMAN)/man1/
	install -m 644 conf/ci-builds.bash-completion $(SYSCOMP)/ci-builds
	install -m 644 conf/ci_builds.load conf/ci_builds.conf $(DESTDIR)$(SYSCONFDIR)/mods-available/

clean:
	rm -rf $(BUILD)

.PHONY: all help deps demo run check check-asan check-valgrind check-threads check-built fuzz torture bench lint lint-installed install clean
