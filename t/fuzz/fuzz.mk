# The fuzz targets: t/fuzz/fuzz_NAME.c each, linked twice.
#   make replays   with a main that reads files, for `make check` to run over t/fuzz/corpus
#   make fuzzers   with libFuzzer, by clang, for `make fuzz`
FUZZ_SRC     = $(wildcard t/fuzz/fuzz_*.c)
FUZZ_TARGETS = $(FUZZ_SRC:t/fuzz/fuzz_%.c=%)
REPLAYS      = $(addprefix $(BUILD)/replay/,$(FUZZ_TARGETS))
FUZZERS      = $(addprefix $(BUILD)/fuzzer/,$(FUZZ_TARGETS))
FUZZ_LINKED  = $(addprefix $(BUILD)/t/fuzz/,fuzz.o exact_pools.o body.o) $(CORE_OBJ) $(PARSER_OBJ)

replays: $(REPLAYS)
	@:
fuzzers: $(if $(FUZZ),$(addprefix $(BUILD)/fuzzer/,$(FUZZ)),$(FUZZERS))
	@:

$(BUILD)/t/fuzz/%.o: CIB_CFLAGS += $(addprefix -I,t/fuzz src/core src/http src/files)

# what the targets share is not what is to be covered
$(addprefix $(BUILD)/t/fuzz/,fuzz.o exact_pools.o): CIB_CFLAGS += $(UNCOVERED)

# -rdynamic: what exact_pools.c has stands before APR's own, also for APR
$(REPLAYS): $(BUILD)/replay/%: $(BUILD)/t/fuzz/fuzz_%.o $(BUILD)/t/fuzz/replay.o $(FUZZ_LINKED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANITIZE) -rdynamic -o $@ $^ $(LDFLAGS) $(LIB_LIBS) $(APR_LIBS)

$(FUZZERS): $(BUILD)/fuzzer/%: $(BUILD)/t/fuzz/fuzz_%.o $(FUZZ_LINKED)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(SANITIZE) -fsanitize=fuzzer -rdynamic -o $@ $^ $(LDFLAGS) $(LIB_LIBS) $(APR_LIBS)

.PHONY: replays fuzzers
