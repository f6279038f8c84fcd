# mod_ci_builds: the build. `make help` lists the targets.
BUILD   ?= build
APXS    ?= apxs
CC      ?= gcc

HTTPD_CFLAGS = $(shell $(APXS) -q CFLAGS) -I$(shell $(APXS) -q INCLUDEDIR)
APR_CFLAGS   = $(shell apr-1-config --cppflags --cflags --includes) $(shell apu-1-config --includes)
APR_LIBS     = $(shell apr-1-config --link-ld) $(shell apu-1-config --link-ld)
LIB_CFLAGS   = $(shell pkg-config --cflags json-c libcrypto libpq sqlite3)
LIB_LIBS     = $(shell pkg-config --libs json-c libcrypto)
WARN         = -Wall -Wextra -Wformat=2 -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
               -Wno-unused-parameter -Wimplicit-fallthrough
CIB_CFLAGS   = -std=gnu11 -O2 -g -fPIC -fno-strict-aliasing -D_GNU_SOURCE $(WARN) $(WERROR) -Iinclude $(SANITIZE)

# what needs no server (the command line and the unit tests link it), and what does
CORE_SRC   = $(wildcard src/util/*.c src/files/*.c src/store/*.c src/core/*.c)
PARSER_SRC = src/http/params.c src/http/json_parser.c src/http/form_parser.c src/http/multipart_parser.c
MODULE_SRC = mod_ci_builds.c $(wildcard src/http/*.c src/server/*.c src/api/*.c)
CLI_SRC    = $(wildcard src/cli/*.c)

CORE_OBJ   = $(CORE_SRC:%.c=$(BUILD)/%.o)
PARSER_OBJ = $(PARSER_SRC:%.c=$(BUILD)/%.o)
MODULE_OBJ = $(MODULE_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ    = $(CLI_SRC:%.c=$(BUILD)/%.o)

all: $(BUILD)/mod_ci_builds.so $(BUILD)/ci-builds

$(BUILD)/mod_ci_builds.so: $(MODULE_OBJ) $(CORE_OBJ)
	$(CC) -shared $(SANITIZE) -o $@ $^ $(LDFLAGS) $(LIB_LIBS)

$(BUILD)/ci-builds: $(CLI_OBJ) $(PARSER_OBJ) $(CORE_OBJ)
	$(CC) $(SANITIZE) -o $@ $^ $(LDFLAGS) $(LIB_LIBS) $(APR_LIBS)

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CIB_CFLAGS) $(APR_CFLAGS) $(HTTPD_CFLAGS) $(LIB_CFLAGS) $(CFLAGS) -MMD -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.PHONY: all
