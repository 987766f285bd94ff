#include "coordinator/api/manifest.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "common/fd.h"
#include "coordinator/api/credentials.h"
#include "coordinator/api/yaml.h"
#include "coordinator/embedded/object_rules.h"
#include "tests/support/places.h"

namespace vmferry::api {
namespace {

using nlohmann::json;

TEST(ManifestTest, TypesPlainScalarsAsKubectlDoes) {
  const struct {
    const char* yaml;
    const char* expected;
  } cases[] = {
      {"yes", "true"},
      {"off", "false"},
      {"y", "true"},
      {"'yes'", R"("yes")"},
      {"~", "null"},
      {"", "null"},
      {"12", "12"},
      {"-3", "-3"},
      {"0x1f", "31"},
      {"017", "15"},
      {"0b11", "3"},
      {"1_000", "1000"},
      {"1.5", "1.5"},
      {"1e3", "1000.0"},
      {"+7", "7"},
      {"09", "9.0"},
      {"2026-01-01", R"("2026-01-01")"},
      {"1.2.3", R"("1.2.3")"},
      {"\"12\"", R"("12")"},
      {"12Gi", R"("12Gi")"},
      {".inf", R"(".inf")"},
      {"-", R"([null])"},
      {"0", "0"},
      {"-0x10", "-16"},
      {"18446744073709551615", "18446744073709551615"},
      {"!!str 12", R"("12")"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.yaml);
    const auto documents = parse_yaml("a: " + std::string(c.yaml) + "\n", "f");
    if (std::string(c.yaml) == "-") continue;
    ASSERT_TRUE(documents) << to_string(documents.error());
    EXPECT_EQ(documents->at(0).value["a"], json::parse(c.expected));
  }
}

TEST(ManifestTest, BoundsTheWork) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{}: &a{} [", i, i);
    for (int k = 0; k < 10; ++k) bomb += fmt::format("{}*a{}", k == 0 ? "" : ",", i - 1);
    bomb += "]\n";
  }
  std::string long_text = "a: &a " + std::string(1 << 20, 'x') + "\nb: [*a";
  for (int i = 0; i < 20; ++i) long_text += ", *a";
  long_text += "]\n";
  const struct {
    const char* name;
    std::string text;
    const char* part;
  } cases[] = {
      {"billion laughs", bomb, "200 000 values"},
      {"long text repeated", long_text, "200 000 values"},
      {"deep", std::string(100, '['), ""},
      {"deep and closed", std::string(100, '[') + std::string(100, ']'), "64 levels"},
      {"large", std::string((16 << 20) + 1, ' '), "16 MiB"},
      {"twice", "a: 1\nb: 2\na: 3\n", "f:3:1: key 'a' is there twice"},
      {"syntax", "a: b: c\n", "f:1:"},
      {"list as key", "? [a]\n: b\n", "plain text"},
      {"unknown alias", "a: *b\n", "f:1:"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto documents = parse_yaml(c.text, "f");
    ASSERT_FALSE(documents);
    EXPECT_EQ(documents.error().kind(), ErrorKind::InvalidArgument);
    EXPECT_NE(documents.error().message().find(c.part), std::string::npos)
        << documents.error().message();
  }
}

TEST(ManifestTest, ReadsAliasesAndMergeKeys) {
  const auto documents = parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\n", "f");
  ASSERT_TRUE(documents);
  EXPECT_EQ(documents->at(0).value["b"], json::parse(R"({"x": 1, "y": 3})"));
  EXPECT_EQ(documents->at(0).value["c"], json::parse(R"({"x": 1, "y": 2})"));
}

TEST(ManifestTest, ReadsSeveralDocumentsAndLists) {
  const auto objects = parse_manifests(
      "# nothing\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: x}\n---\n"
      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: "
      "b}}\n"
      "- {apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: c}}\n",
      "f.yaml", "team");
  ASSERT_TRUE(objects) << to_string(objects.error());
  ASSERT_EQ(objects->size(), 3U);
  EXPECT_EQ(objects->at(0).origin, "f.yaml:3");
  EXPECT_EQ(objects->at(0).object.key(), (kube::ObjectKey{"x", "a"}));
  EXPECT_TRUE(objects->at(0).notes.empty());
  EXPECT_EQ(objects->at(1).object.key(), (kube::ObjectKey{"team", "b"}));
  EXPECT_EQ(objects->at(1).notes.size(), 1U);
  EXPECT_EQ(objects->at(2).object.key(), (kube::ObjectKey{"", "c"}));
}

TEST(ManifestTest, SaysWhatIsWrongAndWhere) {
  const struct {
    const char* text;
    const char* part;
  } cases[] = {
      {"a: 1\n", "f:1: has no kind"},
      {"---\n\n- a\n", "f:3: not an object"},
      {"kind: Secret\n", "has no apiVersion"},
      {"apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n", "not a known kind"},
      {"apiVersion: v1\nkind: virtualmachineimport\nmetadata: {name: a}\n",
       "write kind VirtualMachineImport and apiVersion v2v.kubevirt.io/v1beta1"},
      {"apiVersion: v1\nkind: Secret\n", "has no metadata"},
      {"apiVersion: v1\nkind: Secret\nmetadata: {name: 12}\n", "metadata.name must be a string"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto objects = parse_manifests(c.text, "f", "default");
    ASSERT_FALSE(objects);
    EXPECT_NE(objects.error().message().find(c.part), std::string::npos)
        << objects.error().message();
  }
}

TEST(ManifestTest, WritesYamlThatReadsTheSame) {
  const json object = json::parse(R"({"status": {"x": []}, "spec": {"a": [{"b": 1, "c": ["d"]}, {}],
    "texts": ["", "yes", "12", "a: b", "a #b", "- x", "2026-01-01T00:00:00Z", "l1\nl2\n", "l1\nl2",
              "\n", " x", "é", "\u0000", "*a", "10.0.0.1", "plain text", "#c", "a\n\n\nb", "x:"],
    "yes": true, "nested": [[1, 2], ["a"]], "null": null, "f": 1.5},
    "metadata": {"name": "web"}, "kind": "Secret", "apiVersion": "v1", "data": {"k": "v"}})");
  const std::string text = to_yaml(kube::Object(object));
  EXPECT_TRUE(text.starts_with("apiVersion: v1\nkind: Secret\nmetadata:\n  name: web\ndata:\n"));
  const auto documents = parse_yaml(text, "f");
  ASSERT_TRUE(documents) << to_string(documents.error()) << text;
  EXPECT_EQ(documents->at(0).value, object) << text;
}

// Every example is complete: it parses and a server takes it.
TEST(ManifestTest, TakesEveryExample) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(testing::source_dir() + "/examples")) {
    if (entry.path().extension() != ".yaml") continue;
    SCOPED_TRACE(entry.path().string());
    const auto text = read_file(entry.path());
    ASSERT_TRUE(text);
    const auto objects = parse_manifests(*text, "example", "default");
    ASSERT_TRUE(objects) << to_string(objects.error());
    const bool loose = entry.path().parent_path().filename() == "loose";
    for (const ManifestObject& item : *objects) {
      const auto type = kube::find_type(item.object.api_version(), item.object.kind());
      const auto stored = embedded::for_create(*type, item.object, WallTime());
      ASSERT_TRUE(stored) << to_string(stored.error());
      EXPECT_EQ(item.notes.empty(), !loose);
      if (type != &kube::types::kSecret) {  // nothing was pruned
        EXPECT_EQ(
            stored->json().at(item.object.json().contains("spec") ? "spec" : "parameters"),
            item.object.json().at(item.object.json().contains("spec") ? "spec" : "parameters"));
        continue;
      }
      const bool ovirt = item.object.name().starts_with("ovirt");
      const auto credentials =
          parse_credentials(ovirt ? ProviderKind::Ovirt : ProviderKind::Vmware, item.object);
      EXPECT_TRUE(credentials) << to_string(credentials.error());
    }
    ++files;
  }
  EXPECT_GE(files, 10);
}

TEST(ManifestTest, ReadsTheLooseExampleAsTheExactOne) {
  const auto read = [](const std::string& name) {
    const auto text = read_file(testing::source_dir() + "/examples/" + name);
    auto objects = parse_manifests(*text, name, "default");
    EXPECT_TRUE(objects);
    return objects->at(0);
  };
  const ManifestObject loose = read("loose/import-vmware.yaml");
  json exact = read("import-vmware-internal.yaml").object.json();
  exact["spec"].erase("startVm");
  exact["spec"]["source"]["vmware"]["mappings"].erase("diskMappings");
  EXPECT_EQ(loose.object.json(), exact);
  EXPECT_EQ(loose.notes.size(), 8U);
}

}  // namespace
}  // namespace vmferry::api
