"""What every gRPC service of the product does around its calls: admit, limit, measure, refuse, page, listen, drain."""
