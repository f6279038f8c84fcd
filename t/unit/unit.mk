# The unit tests: one program per t/unit/test_*.c, linked with everything that needs no server.
#   make unit                  builds them
#   prove -e '' $(UNIT_TESTS)  runs them
UNIT_SRC   = $(wildcard t/unit/test_*.c)
UNIT_TESTS = $(UNIT_SRC:t/unit/%.c=$(BUILD)/unit/%)

unit: $(UNIT_TESTS)

# only those parser files that there are, so that a tree without them still links
UNIT_OBJ = $(CORE_OBJ) $(BACKUP_OBJ) $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(PARSER_SRC)))

$(BUILD)/unit/%: t/unit/%.c t/unit/tap.h $(UNIT_OBJ)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CIB_CFLAGS) -It/unit $(APR_CFLAGS) $(LIB_CFLAGS) $(CFLAGS) -MMD -MF $@.d -o $@ $< \
	    $(UNIT_OBJ) $(LDFLAGS) $(LIB_LIBS) $(BACKUP_LIBS) $(APR_LIBS)

# its own write(), send() ... stand before the C library's, also for the libraries
$(BUILD)/unit/test_core_faults $(BUILD)/unit/test_core_backup_faults: LDFLAGS += -rdynamic

.PHONY: unit
