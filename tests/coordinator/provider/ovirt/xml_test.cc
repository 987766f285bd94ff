#include "coordinator/provider/ovirt/xml.h"

#include <gtest/gtest.h>

#include "common/catalogue.h"
#include "coordinator/provider/ovirt/model.h"

namespace vmferry::ovirt {
namespace {

TEST(OvirtXmlTest, JsonOfEitherFormIsTheSameMachineAsXml_Src1And2) {
  const char* xml =
      "<vm id=\"v\"><memory>1073741824</memory><disk_attachments><disk_attachment id=\"d\">"
      "<bootable>true</bootable></disk_attachment></disk_attachments><nics/></vm>";
  const char* as_text =
      R"({"id":"v","memory":"1073741824","nics":{},
          "disk_attachments":{"disk_attachment":[{"id":"d","bootable":"true"}]}})";
  const char* native =
      R"({"id":"v","memory":1073741824,"nics":{},
          "disk_attachments":{"disk_attachment":[{"id":"d","bootable":true}]}})";
  for (const Result<Document>& document :
       {Document::parse_xml(xml), Document::parse_json(as_text, "vm"),
        Document::parse_json(native, "vm")}) {
    ASSERT_TRUE(document.ok());
    const Vm vm = parse_vm(document->root());
    EXPECT_EQ(vm.id, "v");
    EXPECT_EQ(vm.memory, 1073741824u);
    ASSERT_TRUE(vm.disk_attachments.has_value());
    ASSERT_EQ(vm.disk_attachments->size(), 1u);
    EXPECT_EQ(vm.disk_attachments->front().id, "d");
    EXPECT_EQ(vm.disk_attachments->front().bootable, true);
    ASSERT_TRUE(vm.nics.has_value());
    EXPECT_TRUE(vm.nics->empty());
    EXPECT_FALSE(vm.cdroms.has_value());
  }
}

TEST(OvirtXmlTest, MissingAndEmptyAreUnsetNotFalseOrZero) {
  const Result<Document> document = Document::parse_xml(
      "<vm><a/><b>TRUE</b><c>0</c><d>x7</d><e>-1</e><f> 9 </f><g>99999999999999999999</g></vm>");
  ASSERT_TRUE(document.ok());
  const Element vm = document->root();
  EXPECT_EQ(vm.text("a"), "");
  EXPECT_EQ(vm.text("z"), std::nullopt);
  EXPECT_EQ(vm.boolean("a"), std::nullopt);
  EXPECT_EQ(vm.boolean("b"), true);
  EXPECT_EQ(vm.boolean("c"), false);
  EXPECT_EQ(vm.integer("a"), std::nullopt);
  EXPECT_EQ(vm.integer("d"), std::nullopt);
  EXPECT_EQ(vm.integer("e"), -1);
  EXPECT_EQ(vm.bytes("e"), std::nullopt);
  EXPECT_EQ(vm.bytes("f"), 9u);
  EXPECT_EQ(vm.integer("g"), std::nullopt);
  EXPECT_FALSE(vm.child("no.such.path"));
}

TEST(OvirtXmlTest, WhatIsNoPlainDocumentIsRefused) {
  const std::string deep_json = std::string(100, '[') + std::string(100, ']');
  const std::string cases[] = {
      "",
      "<vm>",
      "<!DOCTYPE vm [<!ENTITY a \"b\">]><vm>&a;</vm>",
      "<!DOCTYPE vm SYSTEM \"file:///etc/passwd\"><vm/>",
      "just text",
      std::string(kMaxDocumentBytes + 1, ' '),
  };
  for (const std::string& text : cases) {
    const Result<Document> document = Document::parse_xml(text);
    ASSERT_FALSE(document.ok()) << text.substr(0, 40);
    EXPECT_EQ(document.error().code(), code::kSourceProtocol);
  }
  for (const std::string& text : {std::string("[]"), std::string("{"), std::string("null"),
                                  "{\"a\":" + deep_json + "}", std::string()}) {
    EXPECT_FALSE(Document::parse_json(text, "x").ok()) << text.substr(0, 40);
  }
}

TEST(OvirtXmlTest, EscapesWhatGoesIntoRequests) {
  EXPECT_EQ(xml_escape("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
}

TEST(OvirtXmlTest, ReferencesAreToldFromInlinedObjects) {
  const Result<Document> document = Document::parse_xml(
      "<vm><a id=\"1\" href=\"/x\"/><b id=\"2\"><link rel=\"nics\" href=\"/n\"/></b>"
      "<c id=\"3\"><name>n</name></c></vm>");
  ASSERT_TRUE(document.ok());
  EXPECT_TRUE(document->root().child("a").is_reference());
  EXPECT_TRUE(document->root().child("b").is_reference());
  EXPECT_EQ(document->root().child("b").link("nics"), "/n");
  EXPECT_FALSE(document->root().child("c").is_reference());
}

}  // namespace
}  // namespace vmferry::ovirt
