// A file of its own: the content security policy permits no scripts inside HTML.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#documentation", deepLinking: true });
