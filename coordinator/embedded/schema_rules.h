#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

#include "common/result.h"

namespace vmferry::embedded {

// The CEL rules (x-kubernetes-validations) of our own CRDs. An API server evaluates them; here each
// is known by its text and checked by a function of ours, with the same words when it is broken.

// InvalidArgument when a rule is not one of those.
Result<void> check_rules_are_known(const nlohmann::json& rules);

// What is wrong with `value` by one rule of a checked list; empty when it holds.
std::string broken_rule(const nlohmann::json& rule, const nlohmann::json& value);

}  // namespace vmferry::embedded
