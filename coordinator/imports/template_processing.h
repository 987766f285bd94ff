#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "common/result.h"

// Expanding an OpenShift template in our own code, with the result of the cluster's
// processedtemplates API.
namespace vmferry::imports {

// A number in [0, limit), limit > 0.
using RandomBelow = std::function<std::uint32_t(std::uint32_t limit)>;
// From the system's cryptographic generator: templates make passwords this way.
RandomBelow system_random();

// The "expression" generator: "[a-z0-9]{16}", "user-[\w]{4}". Ranges, \w (letters, digits, _), \d,
// \a (letters, digits) and \A (punctuation); length 1 to 255. Text that is no such pattern stands
// for itself. InvalidArgument tells what of a pattern is wrong. The grammar is OpenShift's, except
// that a range holds its last character, and that what was generated is not looked through again.
Result<std::string> generate_value(const std::string& from, const RandomBelow& random);

// Replaces ${NAME} inside strings, and a string that is ${{NAME}} by the value as JSON (or as text
// when it is no JSON), in keys and values at every depth. Names without a value stay. The result is
// OpenShift's to the letter. InvalidArgument when 4 MiB do not hold it.
Result<nlohmann::json> substitute_parameters(const nlohmann::json& node,
                                             const std::map<std::string, std::string>& values);

// Values of a template's parameters (os-and-templates.md 5): NAME is `vm_name` unless that is
// empty; else the default; else the generator; else the literal "other", for what is thrown away
// later. InvalidArgument for a broken generator, a default that is no text, a required NAME without
// a value and a required parameter whose generator makes an empty one.
Result<std::map<std::string, std::string>> parameter_values(const nlohmann::json& parameters,
                                                            const std::string& vm_name,
                                                            const RandomBelow& random);

}  // namespace vmferry::imports
