#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <set>

#include "coordinator/imports/template_processing.h"
#include "tests/support/places.h"

// Our processing of templates against OpenShift's: tests/data/openshift_processing.json holds what
// OpenShift's own processor made of each template (tests/support/openshift_templates/record.sh).
namespace vmferry::imports {
namespace {

using nlohmann::json;

json recorded(const char* what) {
  std::ifstream file(testing::source_dir() + "/tests/data/openshift_processing.json");
  return json::parse(file).at(what);
}

// Go writes a double in full digits where we write an exponent.
json as_we_write(json value) {
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    return value.get<double>();
  }
  if (value.is_structured()) {
    for (json& item : value) item = as_we_write(item);
  }
  return value;
}

Result<json> processed(const json& source) {
  const auto values = parameter_values(source.value("parameters", json()), system_random());
  if (!values) return Error(values.error());
  json objects = json::array();
  for (const json& object : source.at("objects")) {
    objects.push_back(TRY(expand_object(object, source.value("labels", json()), *values)));
  }
  return objects;
}

TEST(OpenShiftProcessingTest, GivesTheSameObjects) {
  std::size_t made = 0, refused = 0;
  for (const json& c : recorded("cases")) {
    SCOPED_TRACE(c.at("name").get<std::string>());
    const auto ours = processed(c.at("template"));
    ++(c.contains("error") ? refused : made);
    EXPECT_EQ(ours.ok(), !c.contains("error")) << (ours ? ours->dump() : to_string(ours.error()));
    if (!ours) {
      EXPECT_EQ(ours.error().code(), "VMF-REQ-TEMPLATE");
    } else if (c.contains("objects")) {
      EXPECT_EQ(ours->dump(1), as_we_write(c.at("objects")).dump(1));
    }
  }
  EXPECT_GT(made, 20u);
  EXPECT_GT(refused, 5u);
}

// Neither a character that OpenShift would not choose nor one too few.
TEST(OpenShiftProcessingTest, GeneratesFromTheSameCharacters) {
  std::size_t made = 0, refused = 0;
  for (const json& pattern : recorded("patterns")) {
    const std::string from = pattern.at("from");
    SCOPED_TRACE(from);
    ++(pattern.contains("error") ? refused : made);
    std::set<std::string> characters;
    for (int i = 0; i < 4000; ++i) {
      const auto value = generate_value(from, system_random());
      ASSERT_EQ(value.ok(), !pattern.contains("error"))
          << (value ? *value : to_string(value.error()));
      if (!value) break;
      ASSERT_EQ(value->size(), pattern.value("length", 0u)) << *value;
      // Patterns hold one character beyond ASCII at most, which is no part of any range.
      for (std::size_t at = 0; at < value->size();) {
        const std::size_t size = ((*value)[at] & 0x80) != 0 ? 2 : 1;
        characters.insert(value->substr(at, size));
        at += size;
      }
    }
    std::string sorted;
    for (const std::string& character : characters) sorted += character;
    EXPECT_EQ(sorted, pattern.value("characters", ""));
  }
  EXPECT_GT(made, 30u);
  EXPECT_GT(refused, 15u);
}

}  // namespace
}  // namespace vmferry::imports
