#pragma once

#include <string>

#include "cli/context.h"

// Each add_<command> registers one subcommand of `vmferry`; cli/<command>.cc holds it.
namespace vmferry::cli {

struct UpOptions;

// The program's name when kubectl runs it.
inline constexpr const char* kPluginName = "kubectl vmferry";

// --agents, --slots, --limit and the rest of `up`, for the commands that start a supervisor.
void add_supervisor_options(CLI::App& command, UpOptions& options, std::string& limit);

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
void add_inventory(CLI::App& app, Context& context);
void add_limit(CLI::App& app, Context& context);
void add_validate(CLI::App& app, Context& context);
void add_version(CLI::App& app, Context& context);
void add_wait(CLI::App& app, Context& context);
void add_watch(CLI::App& app, Context& context);

}  // namespace vmferry::cli
