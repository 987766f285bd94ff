#pragma once

#include "cli/context.h"

// Each add_<command> registers one subcommand of `vmferry`; cli/<command>.cc holds it.
namespace vmferry::cli {

void add_global_options(CLI::App& app, Context& context);
// Parses, runs the chosen command and answers the exit code; usage errors are kBadInput.
int parse_and_run(CLI::App& app, Context& context, int argc, const char* const* argv);

void add_up(CLI::App& app, Context& context);
void add_apply(CLI::App& app, Context& context);
void add_copy(CLI::App& app, Context& context);
void add_delete(CLI::App& app, Context& context);
void add_describe(CLI::App& app, Context& context);
void add_explain(CLI::App& app, Context& context);
void add_get(CLI::App& app, Context& context);
void add_import(CLI::App& app, Context& context);
void add_limit(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);
void add_wait(CLI::App& app, Context& context);
void add_watch(CLI::App& app, Context& context);

}  // namespace vmferry::cli
