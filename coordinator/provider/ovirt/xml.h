#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <pugixml.hpp>

#include "common/result.h"

// The tree that an oVirt engine's answers carry, in XML or JSON (source-ovirt.md 1.4). Reading is
// liberal in values and strict in size and form: an element that is missing, or whose value is not
// of the wanted type, is "unset"; unknown enumeration words are kept as they are.
namespace vmferry::ovirt {

// No answer we ask for is larger; pugixml needs up to sixteen times as much memory for the tree.
inline constexpr std::size_t kMaxDocumentBytes = 16u << 20;

// A view of one element, or of none: every question to none answers "unset". Valid as long as its
// Document.
class Element {
 public:
  Element() = default;
  explicit Element(pugi::xml_node node) : node_(node) {}

  explicit operator bool() const { return !node_.empty(); }
  std::string name() const { return node_.name(); }

  // The first child element of that name; a dotted name walks down: "cpu.topology.cores".
  Element child(std::string_view path) const;
  std::vector<Element> children(const char* name) const;
  std::vector<Element> children() const;

  // `id` and `href` are attributes in XML; children of these names count, too.
  std::string id() const { return attribute("id"); }
  std::string href() const { return attribute("href"); }
  std::string attribute(const char* name) const;

  // Values of the child at `path`. An empty element is a text of no characters and no number.
  std::optional<std::string> text(std::string_view path) const;
  std::string text_or(std::string_view path, std::string_view otherwise) const;
  std::optional<std::int64_t> integer(std::string_view path) const;
  std::optional<std::uint64_t> bytes(std::string_view path) const;  // not negative
  std::optional<bool> boolean(std::string_view path) const;         // true false 1 0, any case
  std::string own_text() const;

  // Only a reference: no child but links and actions.
  bool is_reference() const;
  // The href of <link rel="...">.
  std::optional<std::string> link(std::string_view rel) const;

 private:
  friend class Document;
  pugi::xml_node node_;
};

// An answer's tree, owned.
class Document {
 public:
  Document();

  // InvalidArgument with VMF-SRC-PROTOCOL: not well-formed, larger than kMaxDocumentBytes, or with
  // a document type declaration (which no engine sends, and which could hold entities).
  static Result<Document> parse_xml(std::string_view text);
  // The same tree from JSON; `root` names the outermost element, which JSON leaves out.
  static Result<Document> parse_json(std::string_view text, std::string_view root);

  Element root() const;

  // Puts a copy of `part`'s root, renamed, behind the children of `parent`; the copy.
  Element append(Element parent, const Document& part, const std::string& name);
  // Puts a copy of `part`'s root in the place of `old`, with the name of `old`; the copy.
  Element replace(Element old, Element part);
  void remove(Element old);

 private:
  std::unique_ptr<pugi::xml_document> document_;
};

// Text for an element's content or an attribute's value.
std::string xml_escape(std::string_view text);

}  // namespace vmferry::ovirt
