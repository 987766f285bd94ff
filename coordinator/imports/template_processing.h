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
// for itself. InvalidArgument tells what of a pattern is wrong. Each value is one that OpenShift
// could have made; only what was generated is not looked through again.
Result<std::string> generate_value(const std::string& from, const RandomBelow& random);

// Replaces ${NAME} inside strings, and a string that is ${{NAME}} by the value as JSON (or as text
// when it is no JSON), in keys and values at every depth. Names without a value stay. The result is
// OpenShift's to the letter, but that a number beyond 2^53 may be written in other digits of the
// same double. Where OpenShift breaks off (a list's item that becomes null, a key that becomes a
// number), the value stands there. InvalidArgument when 4 MiB do not hold it.
Result<nlohmann::json> substitute_parameters(const nlohmann::json& node,
                                             const std::map<std::string, std::string>& values);

// One object of a template as OpenShift gives it back: parameters in place, without a namespace
// that names no parameter, with the template's own labels. Their keys are gone through once; in
// OpenShift chance has it whether a key that took in another reference is gone through again.
// InvalidArgument for a label that is no text.
Result<nlohmann::json> expand_object(const nlohmann::json& object, const nlohmann::json& labels,
                                     const std::map<std::string, std::string>& values);

// Parameters as we ask for them (os-and-templates.md 5): NAME is `vm_name` unless that is empty;
// what has neither default nor generator gets the literal "other", for it is thrown away later.
nlohmann::json filled_parameters(const nlohmann::json& parameters, const std::string& vm_name);

// Their values as OpenShift takes them: the default, else what the generator makes, else nothing.
// InvalidArgument for a broken generator, a default that is no text, a required one that
// stays empty.
Result<std::map<std::string, std::string>> parameter_values(const nlohmann::json& parameters,
                                                            const RandomBelow& random);

}  // namespace vmferry::imports
