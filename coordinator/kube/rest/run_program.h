#pragma once

#include <chrono>
#include <cstddef>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "common/result.h"

namespace vmferry::kube {

struct ProgramCall {
  std::string program;  // a path, or a name looked up in PATH
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours, or in its place
  std::chrono::milliseconds limit{60'000};
  std::size_t max_output_bytes = 1u << 20;
};

// Runs a program to its end and returns what it printed on stdout. Its stdin is empty, its stderr
// ours. Errors, all after it is dead: NotFound (no such program), Unavailable (ended with another
// status than 0), DeadlineExceeded, ResourceExhausted (printed too much), Canceled.
Result<std::string> run_program(const ProgramCall& call, std::stop_token stop);

}  // namespace vmferry::kube
